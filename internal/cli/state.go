package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"muster/client"
	"muster/wire"
)

func (a *app) stateCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:     "state",
		GroupID: "state",
		Short:   "Ask for the state, follow it, wish for another one",
		Long: `Ask for the state of the device, follow it, and wish for another one.

The states are those of lws_system. The boot climbs from CONTEXT_CREATED to OPERATIONAL one by one;
POLICY_INVALID, AWAITING_MODAL_UPDATING, MODAL_UPDATING and CONTEXT_DESTROYING are reached by a wish.`,
	}, a.stateGetCommand(), a.stateWatchCommand(), a.stateRequestCommand(), a.stateAbortCommand(), a.stateHistoryCommand())
}

func (a *app) stateGetCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "get",
		Short: "The name of the state, and nothing else",
		Long: `The name of the state, and nothing else, for scripts. "muster status" tells more to people,
-o json tells all.`,
		Example: "  muster state get\n  muster state get -o json",
		Args:    asUsed,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), func(ctx context.Context, bus *client.Client) error {
				view, err := bus.State(ctx)
				if err != nil {
					return err
				}
				return a.print(view, func(w io.Writer) { fmt.Fprintln(w, view.State) })
			})
		},
	}
}

// readState reads a state as people write it: in any case, and with - for _.
func readState(c *cobra.Command, text string) (wire.State, error) {
	state, err := wire.ParseState(strings.ToUpper(strings.ReplaceAll(text, "-", "_")))
	switch {
	case err != nil:
		_, err = wire.ParseState(text) // in the word that was written
		return state, misused(c, "%s", wire.AsError(err).Message)
	case state == wire.Unknown:
		return state, misused(c, "the state is UNKNOWN, which nothing moves to; CONTEXT_CREATED or above would be right")
	}
	return state, nil
}

// completeState offers the states that can be wished for as the only argument.
func completeState(c *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return completeStates(c, args, typed)
}

// completeTransition offers the transition that is under way.
func (a *app) completeTransition(c *cobra.Command, _ []string, _ string) (ids []cobra.Completion, _ cobra.ShellCompDirective) {
	a.offer(c.Context(), func(ctx context.Context, bus *client.Client) {
		if view, err := bus.State(ctx); err == nil && view.Transition != nil {
			t := view.Transition
			ids = append(ids, cobra.CompletionWithDesc(t.ID, fmt.Sprintf("%s to %s", t.From, t.To)))
		}
	})
	return ids, cobra.ShellCompDirectiveNoFileComp
}
