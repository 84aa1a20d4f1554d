package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"muster": main})
}

// TestScripts plays the transcripts in testdata: what a person types, and what is said to it.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata", RequireExplicitExec: true, Setup: func(env *testscript.Env) error {
		env.Setenv("MUSTER_DIR", env.WorkDir+"/device")
		env.Setenv("MUSTER_LISTEN", "127.0.0.1:0")
		return nil
	}})
}
