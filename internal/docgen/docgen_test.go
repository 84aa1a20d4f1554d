package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"muster/wire"
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

// TestLinks follows every link of every page to the file and the heading that it names.
func TestLinks(t *testing.T) {
	pages := []string{"wire/testdata/README.md"}
	for _, pattern := range []string{"*.md", "docs/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %v %v", pattern, found, err)
		}
		for _, file := range found {
			page, err := filepath.Rel(root, file)
			if err != nil {
				t.Fatal(err)
			}
			pages = append(pages, page)
		}
	}
	for _, page := range pages {
		for _, found := range regexp.MustCompile(`\]\(([^) ]*)\)`).FindAllSubmatch(readPage(t, page), -1) {
			target, anchor, _ := strings.Cut(string(found[1]), "#")
			if strings.Contains(target, "://") {
				continue
			}
			file := page
			if target != "" {
				file = filepath.Join(filepath.Dir(page), target)
			}
			if _, err := os.Stat(filepath.Join(root, file)); err != nil {
				t.Errorf("%s: %v", page, err)
			} else if anchor != "" && !anchors(readPage(t, file))[anchor] {
				t.Errorf("%s: nothing is at %s", page, found[1])
			}
		}
	}
}

func readPage(t *testing.T, page string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// anchors gives what can be linked to within a page: its headings.
func anchors(page []byte) map[string]bool {
	made := map[string]bool{}
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllSubmatch(page, -1) {
		anchor := strings.ToLower(string(heading[1]))
		anchor = strings.ReplaceAll(regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(anchor, ""), " ", "-")
		if made[anchor] {
			anchor += "-1"
		}
		made[anchor] = true
	}
	return made
}

// TestQuote wants what is shown of a file to be there.
func TestQuote(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "x.go"), []byte("func f() {\n\tif a {\n\t\tb\n\t}\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for mark, want := range map[string]string{
		"x.go":                     "```go\nfunc f() {\n\tif a {\n\t\tb\n\t}\n}\n```\n",
		`x.go, "if a" to "}"`:      "```go\nif a {\n\tb\n}\n```\n",
		`x.go, "if z" to "}"`:      "",
		`x.go, "if a" to "if a z"`: "",
		"y.go":                     "",
	} {
		got, err := quote(dir, []byte("<!-- from: "+mark+" -->\nold\n<!-- end -->\n"))
		if want == "" {
			if err == nil {
				t.Errorf("%s was taken", mark)
			}
			continue
		}
		if want = "<!-- from: " + mark + " -->\n" + want + "<!-- end -->\n"; err != nil || string(got) != want {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
}

// TestStatesPicture wants every state in the picture of them, with its number.
func TestStatesPicture(t *testing.T) {
	picture := string(readPage(t, "docs/states.svg"))
	for _, s := range wire.States()[1:] {
		if !regexp.MustCompile(fmt.Sprintf(`class="no">%d</text><text [^>]*>%s</text>`, s, s)).MatchString(picture) {
			t.Errorf("docs/states.svg does not show %d %s", s, s)
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
