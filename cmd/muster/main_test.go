package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"muster/internal/daemon"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"muster": main, "linger": linger})
}

// linger is a command for the transcripts: it makes the file that it is told, waits for a signal, and ends with 7.
func linger() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	err := os.WriteFile(os.Args[1], nil, 0o600)
	if err == nil {
		_, err = fmt.Fprintln(os.Stdout, "told:", <-signals)
	}
	if err != nil {
		panic(err)
	}
	os.Exit(7) //nolint:forbidigo // this is a main
}

// TestScripts plays the transcripts in testdata: what a person types, and what is said to it. Each has a folder and a
// port of its own. Besides testscript's commands there are:
//
//	ready   wait until the daemon that runs in the background answers; $URL is then its bus
//	stop    tell it to end, and wait until it has; "wait NAME" behind it asserts how it ended
//	hup     tell it to read its configuration again
//	retry CMD…  run a command until it succeeds
//	story   hold what the demo told against a file, times and the like aside: story stdout FILE
//	await   wait until a FILE is there and, if that is said, has TEXT in it
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata", RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("MUSTER_DIR", env.WorkDir+"/device")
			env.Setenv("MUSTER_LISTEN", "127.0.0.1:0")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ready": ready, "stop": stop, "hup": hup, "retry": retry, "await": await, "story": story, "attend": attend,
		},
	})
}

// patience is how long a daemon may take to come or to go.
const patience = 20 * time.Second

func ready(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: ready")
	}
	until(ts, "run.json says where the daemon is", func() bool {
		file, err := daemon.ReadRunFile(ts.Getenv("MUSTER_DIR"))
		ts.Setenv("URL", file.URL)
		return err == nil && syscall.Kill(file.PID, 0) == nil // not one that a killed daemon left behind
	})
}

func stop(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: stop")
	}
	file, err := daemon.ReadRunFile(ts.Getenv("MUSTER_DIR"))
	ts.Check(err)
	ts.Check(syscall.Kill(file.PID, syscall.SIGTERM))
	until(ts, "the daemon is gone", func() bool { return errors.Is(syscall.Kill(file.PID, 0), syscall.ESRCH) })
}

func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: await FILE [TEXT]")
	}
	until(ts, strings.Join(args, " has "), func() bool {
		text, err := os.ReadFile(ts.MkAbs(args[0]))
		return err == nil && (len(args) == 1 || strings.Contains(string(text), args[1]))
	})
}

func hup(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: hup")
	}
	file, err := daemon.ReadRunFile(ts.Getenv("MUSTER_DIR"))
	ts.Check(err)
	ts.Check(syscall.Kill(file.PID, syscall.SIGHUP))
}

func retry(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: retry CMD…")
	}
	until(ts, strings.Join(args, " ")+" succeeds", func() bool { return ts.Exec(args[0], args[1:]...) == nil })
}

// until waits for something that another process does.
func until(ts *testscript.TestScript, what string, holds func() bool) {
	tick, end := time.NewTicker(2*time.Millisecond), time.NewTimer(patience)
	defer tick.Stop()
	defer end.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-end.C:
			ts.Fatalf("not within %s: %s", patience, what)
		}
	}
}
