package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const root = "../.."

// TestDrift holds the documents against the source.
func TestDrift(t *testing.T) {
	made, err := documents(root)
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range made {
		got, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.Split(string(got), "\n"), strings.Split(string(want), "\n")); diff != "" {
			t.Errorf("%s has drifted from package wire; run: go run ./internal/docgen\n%s", file, diff)
		}
	}
}

// TestLinks follows every link within the protocol's page, and every one from it to another file.
func TestLinks(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs/protocol.md"))
	if err != nil {
		t.Fatal(err)
	}
	anchors := map[string]bool{}
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllSubmatch(page, -1) {
		anchor := strings.ToLower(string(heading[1]))
		anchor = strings.ReplaceAll(regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(anchor, ""), " ", "-")
		if anchors[anchor] {
			anchor += "-1"
		}
		anchors[anchor] = true
	}
	for _, found := range regexp.MustCompile(`\]\(([^)]*)\)`).FindAllSubmatch(page, -1) {
		target := string(found[1])
		if anchor, within := strings.CutPrefix(target, "#"); within {
			if !anchors[anchor] {
				t.Errorf("nothing is at %s", target)
			}
		} else if _, err := os.Stat(filepath.Join(root, "docs", target)); err != nil {
			t.Error(err)
		}
	}
}

// TestFill wants every table to have its place, and every place its table.
func TestFill(t *testing.T) {
	page := "a\n<!-- generated: x -->\nold\n<!-- end -->\nb\n"
	got, err := fill([]byte(page), map[string]string{"x": "new | $1\n"})
	if want := "a\n<!-- generated: x -->\nnew | $1\n<!-- end -->\nb\n"; err != nil || string(got) != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	for _, tables := range []map[string]string{{"y": ""}, {"x": "", "y": ""}, {}} {
		if _, err := fill([]byte(page), tables); err == nil {
			t.Errorf("%v was taken", tables)
		}
	}
}

// TestYAML holds the writer to the forms that are read in one way only.
func TestYAML(t *testing.T) {
	var out bytes.Buffer
	pairs{
		{"plain", "two words"},
		{"colon", "a: b"},
		{"n", "no"},
		{"number", 3},
		{"text", "3"},
		{"truth", true},
		{"left", ""},
		{"out", pairs{}},
		{"flow", flow(`{"a":[1]}`)},
		{"list", list{"x", pairs{{"k", "v"}, {"l", list{1}}}}},
	}.write(&out, 0)
	want := "plain: two words\ncolon: \"a: b\"\n\"n\": \"no\"\nnumber: 3\ntext: \"3\"\ntruth: true\nflow: {\"a\":[1]}\n" +
		"list:\n  - x\n  - k: v\n    l:\n      - 1\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

// TestExamples wants every message of the document shown with an example that is JSON.
func TestExamples(t *testing.T) {
	source, err := readSource(filepath.Join(root, "wire"))
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range messageTypes() {
		examples, err := source.examplesOf(typ.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range examples {
			if text, ok := e.value.(flow); !ok || !json.Valid([]byte(text)) {
				t.Errorf("%s %s: %v", typ.Name(), e.key, e.value)
			}
		}
		if source.types[typ.Name()] == "" {
			t.Errorf("%s has no comment", typ.Name())
		}
	}
}
