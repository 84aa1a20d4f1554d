package system

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"unicode"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the transcripts in testdata anew")

// TestTranscripts plays testdata/*.txt: one file for each group of rules of the protocol's sections 3 to 5. A file is
// a comment that says which rules it shows, and blocks: commands, a line of four dashes, and what they printed. Time
// is virtual. The commands are those of the tables in script_test.go; -update writes what is printed now.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d transcripts, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { playTranscript(t, file) })
	}
}

func playTranscript(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(text), "# ") {
		t.Errorf("%s does not begin with a comment that says what it shows", file)
	}
	var played strings.Builder
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t)
		for _, b := range blocks(string(text)) {
			played.WriteString(b.prose)
			if len(b.commands) == 0 {
				continue
			}
			for _, command := range b.commands {
				s.run(command)
			}
			fmt.Fprintf(&played, "%s\n----\n%s\n", strings.Join(b.commands, "\n"), s.printed())
		}
		s.finish()
	})
	if *update {
		if err := os.WriteFile(file, []byte(played.String()), 0o644); err != nil { //nolint:gosec // a source file
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(strings.Split(string(text), "\n"), strings.Split(played.String(), "\n")); diff != "" {
		t.Errorf("%s (-want +got; -update writes it anew):\n%s", file, diff)
	}
}

// block is some commands of a transcript, with the comments and empty lines before them.
type block struct {
	prose    string
	commands []string
}

// blocks reads a transcript; what was printed is left out.
func blocks(text string) []block {
	var all []block
	var b block
	printed := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		switch {
		case printed:
			if printed = line != ""; !printed {
				all = append(all, b)
				b = block{}
			}
		case line == "----":
			printed = true
		case len(b.commands) > 0 && line != "":
			b.commands = append(b.commands, line)
		case line == "" || strings.HasPrefix(line, "#"):
			b.prose += line + "\n"
		default:
			b.commands = append(b.commands, line)
		}
	}
	return append(all, b)
}

// command is one line of a script: `answer dhcp defer "no lease" retry=2s`.
type command struct {
	line  string
	words []string
	flags map[string]string // of words with an equals sign, and of bare ones behind the first: "yes"
}

// parseCommand splits a line at its spaces, but not within quotes.
func parseCommand(line string) command {
	c := command{line: line, flags: map[string]string{}}
	quoted := false
	for _, field := range strings.FieldsFunc(line, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return !quoted && unicode.IsSpace(r)
	}) {
		key, value, ok := strings.Cut(field, "=")
		switch {
		case strings.HasPrefix(field, `"`):
			c.words = append(c.words, strings.Trim(field, `"`))
		case ok:
			c.flags[key] = strings.Trim(value, `"`)
		default:
			c.words = append(c.words, field)
		}
	}
	return c
}

// word gives the first word behind the command's name, "" if there is none.
func (c command) word() string {
	if len(c.words) < 2 {
		return ""
	}
	return c.words[1]
}

// rest gives the words behind that.
func (c command) rest() []string { return c.words[min(2, len(c.words)):] }

// has reports whether the bare word is among those behind the name.
func (c command) has(word string) bool { return slices.Contains(c.words[1:], word) }
