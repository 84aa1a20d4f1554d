package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"muster/client"
	"muster/wire"
)

// completionBudget is how long a shell waits for the daemon's part of what it offers.
const completionBudget = 3 * time.Second

// offer asks the daemon for what a completion can offer. Without a daemon there is less to offer, and no error.
func (a *app) offer(ctx context.Context, ask func(context.Context, *client.Client)) {
	ctx, cancel := context.WithTimeout(ctx, completionBudget)
	defer cancel()
	_ = a.with(ctx, func(ctx context.Context, bus *client.Client) error { // a shell shows no errors
		ask(ctx, bus)
		return nil
	})
}

// completeStates offers the states, each with its number.
func completeStates(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var offers []cobra.Completion
	for _, s := range wire.States() {
		if s != wire.Unknown {
			offers = append(offers, cobra.CompletionWithDesc(s.String(), fmt.Sprintf("state %d", int(s))))
		}
	}
	return offers, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}

// completeFlag has a flag's value completed.
func completeFlag(c *cobra.Command, flag string, f cobra.CompletionFunc) {
	if err := c.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic(err) // there is no such flag, or it has one: a slip in the program
	}
}

// completeNothingElse keeps the shell from offering files where a command takes none.
func completeNothingElse(c *cobra.Command) {
	if !strings.Contains(c.Use, " ") && !c.HasSubCommands() {
		c.ValidArgsFunction = cobra.NoFileCompletions
	}
	for _, sub := range c.Commands() {
		completeNothingElse(sub)
	}
}
