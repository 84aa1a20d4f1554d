package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// commandLine finds what is typed behind the word muster in a line of shell, up to where another command or a
// redirection begins.
var commandLine = regexp.MustCompile(`(?:^|[ (])muster((?: (?:'[^']*'|"[^"]*"|[^ '"|&;<>()#]+))+)`)

var words = regexp.MustCompile(`'[^']*'|"[^"]*"|\S+`)

// try holds a command line against the command that it calls, as far as that goes without running it.
func try(line string) (tried int, err error) {
	for _, found := range commandLine.FindAllStringSubmatch(line, -1) {
		args := words.FindAllString(found[1], -1)
		for i := range args {
			args[i] = strings.Trim(args[i], `'"`)
		}
		root := Root()
		root.InitDefaultCompletionCmd()
		c, rest, err := root.Find(args)
		if err == nil {
			c.InitDefaultHelpFlag()
			err = c.ParseFlags(rest)
		}
		if err == nil {
			err = c.ValidateArgs(c.Flags().Args())
		}
		if err != nil {
			return tried, err
		}
		tried++
	}
	return tried, nil
}

// TestExamples tries every command line that stands in a help text, and wants one for each command that takes anything.
func TestExamples(t *testing.T) {
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		for line := range strings.Lines(c.Example) {
			if tried, err := try(strings.TrimSpace(line)); err != nil || tried == 0 {
				t.Errorf("example of %s: %q: %v", c.CommandPath(), strings.TrimSpace(line), err)
			}
		}
		if strings.Contains(c.Use, " ") && c.Example == "" && !c.HasSubCommands() && !c.Hidden {
			t.Errorf("%s takes arguments and has no example", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(Root())
}

// TestPages tries every command line in the shell parts of the pages for people.
func TestPages(t *testing.T) {
	shell := regexp.MustCompile("(?ms)^```(?:sh|console|shell)\n(.*?)^```")
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, page := range append(pages, "../../README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, block := range shell.FindAllSubmatch(text, -1) {
			console := strings.Contains(string(block[0]), "\n$ ")
			for line := range strings.Lines(string(block[1])) {
				line, typed := strings.CutPrefix(line, "$ ")
				if console && !typed {
					continue // what was answered
				}
				tried, err := try(strings.TrimSpace(line))
				if err != nil {
					t.Errorf("%s: %q: %v", filepath.Base(page), strings.TrimSpace(line), err)
				}
				total += tried
			}
		}
	}
	if total < 10 {
		t.Errorf("only %d command lines were found in %s", total, pages)
	}
}
