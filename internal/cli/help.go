package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND…]",
		GroupID: "look",
		Short:   "Explain a command",
		Example: "  muster help blob set",
		Args:    asUsed,
		ValidArgsFunction: func(c *cobra.Command, args []string, _ string) (offers []cobra.Completion, _ cobra.ShellCompDirective) {
			if about, err := commandAt(c.Root(), args); err == nil {
				for _, sub := range about.Commands() {
					if sub.IsAvailableCommand() {
						offers = append(offers, cobra.CompletionWithDesc(sub.Name(), sub.Short))
					}
				}
			}
			return offers, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error {
			about, err := commandAt(c.Root(), args)
			if err != nil {
				return err
			}
			about.InitDefaultHelpFlag()
			about.InitDefaultVersionFlag()
			return about.Help()
		},
	}
}

// commandAt follows words down from a command.
func commandAt(c *cobra.Command, words []string) (*cobra.Command, error) {
	for _, word := range words {
		at := slices.IndexFunc(c.Commands(), func(sub *cobra.Command) bool { return sub.Name() == word })
		switch {
		case at >= 0:
			c = c.Commands()[at]
		case c.HasAvailableSubCommands():
			return nil, noCommand(c, word)
		default:
			return nil, misused(c, "%s has no command below it; %q is one too many", c.CommandPath(), word)
		}
	}
	return c, nil
}

// usage is the part of a command's help below its description. It is Go and no template: where templates are
// executed, the linker has to keep every method that there is, which makes the program a sixth larger.
func usage(c *cobra.Command) error {
	w := c.OutOrStderr()
	below := c.HasAvailableSubCommands()
	if below {
		fmt.Fprintf(w, "Usage:\n  %s COMMAND\n", c.CommandPath())
	} else {
		fmt.Fprintf(w, "Usage:\n  %s\n", c.UseLine())
	}
	if c.HasExample() {
		fmt.Fprintf(w, "\nExamples:\n%s\n", c.Example)
	}
	for _, g := range groups(c) {
		fmt.Fprintf(w, "\n%s\n", g.Title)
		for _, sub := range c.Commands() {
			if sub.GroupID == g.ID && (sub.IsAvailableCommand() || sub.Name() == "help") {
				fmt.Fprintf(w, "  %-*s  %s\n", sub.NamePadding(), sub.Name(), sub.Short)
			}
		}
	}
	if c.HasAvailableLocalFlags() {
		writeFlags(w, "Flags", c.LocalFlags().FlagUsages())
	}
	if c.HasAvailableInheritedFlags() {
		writeFlags(w, "Flags of every command", c.InheritedFlags().FlagUsages())
	}
	if below {
		fmt.Fprintf(w, "\n\"%s COMMAND --help\" explains one.\n", c.CommandPath())
	}
	if !c.HasParent() {
		fmt.Fprintf(w, "\n%s", exitHelp())
	}
	return nil
}

// groups are those that the commands below one are in.
func groups(c *cobra.Command) []*cobra.Group {
	if len(c.Groups()) > 0 || !c.HasAvailableSubCommands() {
		return c.Groups()
	}
	return []*cobra.Group{{Title: "Commands:"}}
}

func writeFlags(w io.Writer, title, usages string) {
	fmt.Fprintf(w, "\n%s:\n%s\n", title, strings.TrimRight(usages, " \n"))
}
