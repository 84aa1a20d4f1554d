package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"muster/internal/cli"
)

// exitCodes is the table of how commands end.
func exitCodes() string {
	var b strings.Builder
	b.WriteString("| code | meaning |\n| --- | --- |\n")
	for _, e := range cli.ExitCodes() {
		fmt.Fprintf(&b, "| %d | %s |\n", e.Code, e.Meaning)
	}
	return b.String()
}

// commands is the table of what there is, down to the last command, each with a link to its page.
func commands(root *cobra.Command) string {
	var b strings.Builder
	for _, g := range root.Groups() {
		fmt.Fprintf(&b, "\n### %s\n\n| command | |\n| --- | --- |\n", strings.TrimSuffix(g.Title, ":"))
		for _, c := range root.Commands() {
			if c.GroupID != g.ID || !c.IsAvailableCommand() || c.Name() == "help" {
				continue
			}
			if !c.HasAvailableSubCommands() {
				row(&b, c, pageName(c))
			}
			for _, sub := range c.Commands() {
				if sub.IsAvailableCommand() {
					row(&b, sub, pageName(c))
				}
			}
		}
	}
	return b.String() + "\n"
}

func row(b *strings.Builder, c *cobra.Command, page string) {
	name := c.CommandPath() + strings.Replace(strings.TrimPrefix(c.Use, c.Name()), " [flags]", "", 1)
	fmt.Fprintf(b, "| [`%s`](man/%s.1) | %s |\n", strings.ReplaceAll(name, "|", `\|`), page, strings.ReplaceAll(c.Short, "|", `\|`))
}
