package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"muster/internal/cli"
	"muster/internal/daemon"
)

const root = "../.."

// TestDrift holds the documents against the source, and looks for pages of commands that are gone.
func TestDrift(t *testing.T) {
	made, err := documents(root)
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range made {
		got, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Errorf("%v; run: go run ./internal/mangen", err)
		} else if diff := cmp.Diff(strings.Split(string(got), "\n"), strings.Split(string(want), "\n")); diff != "" {
			t.Errorf("%s has drifted from the commands; run: go run ./internal/mangen\n%s", file, diff)
		}
	}
	there, err := filepath.Glob(filepath.Join(root, manual, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range there {
		if made[filepath.Join(manual, filepath.Base(path))] == nil {
			t.Errorf("%s is of no command; run: go run ./internal/mangen", path)
		}
	}
}

// TestPages wants every command, argument, flag and setting on its page.
func TestPages(t *testing.T) {
	made, err := documents(root)
	if err != nil {
		t.Fatal(err)
	}
	commands := 0
	var visit func(c *cobra.Command, page string)
	visit = func(c *cobra.Command, page string) {
		commands++
		if name := c.CommandPath(); !strings.Contains(page, escape(name)) {
			t.Errorf("%s stands on no page", name)
		}
		c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "help" && !f.Hidden && strings.Count(page, escape("--"+f.Name)) < 2 {
				t.Errorf("--%s of %s is not in the synopsis and among the options", f.Name, c.CommandPath())
			}
		})
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() {
				visit(sub, page)
			}
		}
	}
	for _, c := range cli.Root().Commands() {
		if c.IsAvailableCommand() {
			visit(c, string(made[filepath.Join(manual, pageName(c)+".1")]))
		}
	}
	if commands < 10 {
		t.Errorf("only %d commands were seen", commands)
	}
	for _, s := range daemon.Settings() {
		if page := string(made[filepath.Join(manual, "muster.toml.5")]); !strings.Contains(page, `\fB`+escape(s.Key)+`\fP`) {
			t.Errorf("%s is not explained", s.Key)
		}
	}
}

// TestTimeless looks for what would make the documents differ from one day or machine to the next.
func TestTimeless(t *testing.T) {
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	made, err := documents(root)
	if err != nil {
		t.Fatal(err)
	}
	today := regexp.MustCompile(`\b(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]* \d`)
	for file, text := range made {
		for _, word := range []string{home + "/", host} {
			if len(word) > 3 && strings.Contains(string(text), word) {
				t.Errorf("%s names %s", file, word)
			}
		}
		if date := today.Find(text); date != nil {
			t.Errorf("%s is dated: %s", file, date)
		}
	}
}

func TestText(t *testing.T) {
	r := &roff{}
	r.text("One line,\nand <another>.\n\n  word    what it means\n  other   that\n\n  verbatim \\ line\n    indented\n\n.no macro…")
	want := `.PP
One line,
and <another>.
.TP
\fBword\fP
what it means
.TP
\fBother\fP
that
.PP
.RS 4
.EX
verbatim \e line
  indented
.EE
.RE
.PP
\&.no macro\[u2026]
`
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(r.String(), "\n")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestFill wants a place for every table.
func TestFill(t *testing.T) {
	page := "a\n<!-- generated: x -->\nold\n<!-- end -->\n<!-- generated: y -->\n<!-- end -->\nb\n"
	got, err := fill([]byte(page), map[string]string{"x": "new $1\n"})
	if want := strings.Replace(page, "old", "new $1", 1); err != nil || string(got) != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	if _, err := fill([]byte(page), map[string]string{"z": ""}); err == nil {
		t.Error("a table without a place was taken")
	}
}

// TestHandbookLinks follows every link of docs/cli.md, to the heading where it names one.
func TestHandbookLinks(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, handbook))
	if err != nil {
		t.Fatal(err)
	}
	links := regexp.MustCompile(`\]\(([^)#]+)#?([^)]*)\)`).FindAllSubmatch(page, -1)
	if len(links) == 0 {
		t.Fatal("there are no links")
	}
	for _, link := range links {
		target, err := os.ReadFile(filepath.Join(root, "docs", string(link[1])))
		if err != nil {
			t.Error(err)
		} else if heading := `(?im)^#+ ` + strings.ReplaceAll(string(link[2]), "-", " ") + `$`; len(link[2]) > 0 && !regexp.MustCompile(heading).Match(target) {
			t.Errorf("%s has no heading for #%s", link[1], link[2])
		}
	}
}
