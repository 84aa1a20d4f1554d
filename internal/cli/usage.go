package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"muster/wire"
)

// usageError is a command line that is not one.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

// misused makes the usage error of a command, with its first example as the hint.
func misused(c *cobra.Command, format string, args ...any) error {
	hint := fmt.Sprintf("see %q", c.CommandPath()+" --help")
	if example, _, _ := strings.Cut(strings.TrimSpace(c.Example), "\n"); example != "" {
		hint = strings.TrimSpace(example)
	}
	return hinted{usageError{fmt.Sprintf(format, args...)}, hint}
}

// asUsed holds the arguments of a command against its Use line, where "NAME" has to be there, "[NAME]" may, and
// "NAME…" stands for one or more; "[flags]" and "[--]" are no arguments.
func asUsed(c *cobra.Command, args []string) error {
	words := slices.DeleteFunc(strings.Fields(c.Use)[1:], func(word string) bool { return word == "[flags]" || word == "[--]" })
	for i, word := range words {
		if i < len(args) || strings.HasPrefix(word, "[") {
			continue
		}
		return misused(c, "%s needs %s", spoken(c), article(strings.TrimSuffix(word, "…")))
	}
	open := len(words) > 0 && strings.HasSuffix(strings.TrimSuffix(words[len(words)-1], "]"), "…")
	if len(args) > len(words) && !open {
		return misused(c, "%s takes %s; %q is one too many", spoken(c), counted(len(words), "argument"), args[len(words)])
	}
	return flagsSet(c)
}

// badFlag tells of a flag that there is not, or whose value is none.
func badFlag(c *cobra.Command, err error) error {
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok {
		return misused(c, "%v", err)
	}
	var names []string
	c.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	return misused(c, "%s has no flag --%s; the nearest is --%s", spoken(c), unknown.GetSpecifiedName(), wire.Nearest(unknown.GetSpecifiedName(), names))
}

// flagsSet looks for a flag that is required and was not given.
func flagsSet(c *cobra.Command) error {
	missing := ""
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if _, required := f.Annotations[cobra.BashCompOneRequiredFlag]; required && !f.Changed && missing == "" {
			missing = "--" + f.Name
			if word, _ := pflag.UnquoteUsage(f); word != "" {
				missing += " " + word
			}
		}
	})
	if missing != "" {
		return misused(c, "%s needs %s", spoken(c), missing)
	}
	return nil
}

// group makes a command that only stands for those below it: alone it shows its help.
func group(c *cobra.Command, below ...*cobra.Command) *cobra.Command {
	c.AddCommand(below...)
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return noCommand(c, args[0])
	}
	c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	return c
}

// noCommand is the error of a word that is no command below c.
func noCommand(c *cobra.Command, word string) error {
	var names []string
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	return hinted{
		usageError{fmt.Sprintf("%s has no command %q; the nearest is %s", c.CommandPath(), word, wire.Nearest(word, names))},
		fmt.Sprintf("see %q", c.CommandPath()+" --help"),
	}
}

// spoken is how an error calls a command: without the word muster, which the error begins with.
func spoken(c *cobra.Command) string {
	return strings.TrimPrefix(c.CommandPath(), c.Root().Name()+" ")
}

// article gives a word with the article that it takes.
func article(word string) string {
	if strings.ContainsAny(word[:1], "AEIOUaeiou") {
		return "an " + word
	}
	return "a " + word
}

// counted gives a number of things in words: "no argument", "1 argument", "2 arguments".
func counted(n int, thing string) string {
	switch n {
	case 0:
		return "no " + thing
	case 1:
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
