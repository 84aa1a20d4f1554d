package main

import (
	"flag"
	"os"
	"os/exec"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "put what the demo tells now into the README")

// toldMark encloses what the demo tells in the README.
var toldMark = regexp.MustCompile("(?s)(<!-- told: muster demo --once -->\n```\n)(.*?)(```\n<!-- end -->)")

// TestReadme holds what the README shows of the demo against the transcript in testdata, which the demo itself is held
// against. With -update it is told anew.
func TestReadme(t *testing.T) {
	const file = "../../README.md"
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		program, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		demo := exec.CommandContext(t.Context(), program)
		demo.Args = []string{"muster", "demo", "--once"}
		told, err := demo.Output()
		if err != nil {
			t.Fatal(err)
		}
		page = toldMark.ReplaceAllFunc(page, func(found []byte) []byte {
			parts := toldMark.FindSubmatch(found)
			return append(append(append([]byte{}, parts[1]...), told...), parts[3]...)
		})
		if err := os.WriteFile(file, page, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	shown := toldMark.FindSubmatch(page)
	if shown == nil {
		t.Fatal("the README does not show the demo")
	}
	transcript, err := txtar.ParseFile("testdata/demo.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range transcript.Files {
		if part.Name == "story" {
			if diff := cmp.Diff(masked(string(part.Data)), masked(string(shown[2]))); diff != "" {
				t.Errorf("the README shows another demo; run: go test ./cmd/muster -run TestReadme -update\n%s", diff)
			}
			return
		}
	}
	t.Error("testdata/demo.txtar has no story")
}
