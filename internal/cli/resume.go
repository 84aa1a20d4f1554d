package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"muster/client"
	"muster/wire"
)

func (a *app) resumeCommand() *cobra.Command {
	var resume wire.Resume
	c := &cobra.Command{
		Use:     "resume NAME",
		GroupID: "state",
		Short:   "Let go of the move in the name of a notifier",
		Long: `Let go of the move that is under way, in the name of a notifier that holds it. When nobody holds any more,
everybody is asked again, that notifier too.`,
		Example:           "  muster resume backup\n  muster resume backup --id 17-9f3c2a.4",
		Args:              asUsed,
		ValidArgsFunction: a.completeHolder,
		RunE: func(c *cobra.Command, args []string) error {
			resume.Notifier = args[0]
			if err := wire.CheckName("notifier", resume.Notifier); err != nil {
				return misused(c, "%s", wire.AsError(err).Message)
			}
			return a.with(c.Context(), func(ctx context.Context, bus *client.Client) error {
				resumed, err := client.Call(ctx, bus, wire.StateResume, resume)
				if err != nil {
					return a.who(ctx, bus, resume.Notifier, err)
				}
				return a.print(resumed, func(w io.Writer) {
					if resumed.Outcome == wire.ResumeDone {
						fmt.Fprintf(w, "%s lets go\n", resume.Notifier)
					} else {
						fmt.Fprintf(w, "%s holds nothing\n", resume.Notifier)
					}
				})
			})
		},
	}
	c.Flags().StringVar(&resume.ID, "id", "", "only if the move is the transition `ID`")
	completeFlag(c, "id", a.completeTransition)
	return c
}
