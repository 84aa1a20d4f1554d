package main

import (
	"regexp"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
)

// masks are what differs from one run of the demo to the next.
var masks = []struct {
	what *regexp.Regexp
	mask string
}{
	{regexp.MustCompile(`(?m)^ *\d+\.\d\d s`), " 0.00 s"},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "127.0.0.1:4222"},
	{regexp.MustCompile(`process \d+`), "process 1"},
}

// masked gives a text of the demo as every run of it has it.
func masked(text string) string {
	for _, m := range masks {
		text = m.what.ReplaceAllString(text, m.mask)
	}
	return text
}

// story holds what the demo told against a file: story stdout want.txt.
func story(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: story stdout FILE")
	}
	if diff := cmp.Diff(masked(ts.ReadFile(args[1])), masked(ts.ReadFile(args[0]))); diff != "" {
		ts.Fatalf("the story has changed:\n%s", diff)
	}
}
