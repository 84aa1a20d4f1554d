package main

import (
	"flag"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "put what the demo tells now into the README")

// toldMark encloses what the demo tells in the README, of which nothing may depend on the machine that it ran on.
var toldMark = regexp.MustCompile("(?s)(<!-- told: muster demo --once --observe=false -->\n```\n)(.*?)(```\n<!-- end -->)")

// TestReadme holds what the README shows of the demo against the transcript in testdata, which the demo itself is held
// against. With -update the demo is asked when they differ.
func TestReadme(t *testing.T) {
	const file = "../../README.md"
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	shown := toldMark.FindSubmatchIndex(page)
	if shown == nil {
		t.Fatalf("%s does not show the demo", file)
	}
	diff := cmp.Diff(masked(transcript(t)), masked(string(page[shown[4]:shown[5]])))
	switch {
	case diff == "":
	case *update:
		told := slices.Concat(page[:shown[4]], demoOnce(t), page[shown[5]:])
		if err := os.WriteFile(file, told, 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("the README shows another demo; run: make generate\n%s", diff)
	}
}

// transcript gives the demo's story as the transcript has it.
func transcript(t *testing.T) string {
	t.Helper()
	script, err := txtar.ParseFile("testdata/demo.txtar")
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(script.Files, func(f txtar.File) bool { return f.Name == "story" })
	if i < 0 {
		t.Fatal("testdata/demo.txtar has no story")
	}
	return string(script.Files[i].Data)
}

// demoOnce gives what the demo tells now.
func demoOnce(t *testing.T) []byte {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	demo := exec.CommandContext(t.Context(), program)
	demo.Args = []string{"muster", "demo", "--once", "--observe=false"}
	told, err := demo.Output()
	if err != nil {
		t.Fatal(err)
	}
	return told
}
