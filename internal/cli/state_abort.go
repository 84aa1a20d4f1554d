package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"muster/client"
	"muster/wire"
)

func (a *app) stateAbortCommand() *cobra.Command {
	var abort wire.Abort
	c := &cobra.Command{
		Use:   "abort",
		Short: "End the move that is under way",
		Long: `End the move that is under way: the state stays what it is.

When it was a step of the boot, the boot rests for a while and then goes on by itself; a wish for any
state takes it up at once.`,
		Example: "  muster state abort --reason 'the battery is low'\n  muster state abort --id 17-9f3c2a.4",
		Args:    asUsed,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := abort.Check(); err != nil {
				return misused(c, "%s", wire.AsError(err).Message)
			}
			return a.with(c.Context(), func(ctx context.Context, bus *client.Client) error {
				aborted, err := client.Call(ctx, bus, wire.StateAbort, abort)
				if err != nil {
					return err
				}
				view, err := bus.State(ctx)
				if err != nil {
					return err
				}
				return a.print(aborted, func(w io.Writer) {
					fmt.Fprintf(w, "aborted; the state is %s\n", aborted.State)
					if p := view.Paused; p != nil {
						fmt.Fprintf(w, "on to %s in %s, or at any wish\n", view.Goal, span(p.Until.Sub(view.Mono)))
					}
				})
			})
		},
	}
	flags := c.Flags()
	flags.StringVar(&abort.Reason, "reason", "aborted with muster state abort", "`TEXT` that tells others why")
	flags.StringVar(&abort.ID, "id", "", "only if the move is the transition `ID`")
	completeFlag(c, "reason", cobra.NoFileCompletions)
	completeFlag(c, "id", a.completeTransition)
	return c
}
