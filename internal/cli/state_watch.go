package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"muster/client"
	"muster/wire"
)

func (a *app) stateWatchCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "watch",
		Short: "The state, and every one that follows",
		Long: `The state, and every one that follows, in order and without a hole, until it is interrupted.

Each line tells when the state was entered, how long after the one before, and why. The watch goes on
over a restart of the daemon, with the state of that moment.`,
		Example: "  muster state watch\n  muster state watch -o json",
		Args:    asUsed,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), func(ctx context.Context, bus *client.Client) error {
				var last wire.StateEvent
				for event, err := range bus.Watch(ctx) {
					if err != nil {
						return err
					}
					if err := a.print(event, func(w io.Writer) { writeStateEvent(w, event, last) }); err != nil {
						return err
					}
					last = event
				}
				return nil
			})
		},
	}
}

// writeStateEvent tells of a state that comes after another one, or first.
func writeStateEvent(w io.Writer, event, last wire.StateEvent) {
	after, note := "", clean(event.Reason)
	switch {
	case last.Boot == "":
		note = "now"
	case last.Boot != event.Boot:
		note = "now, in boot " + event.Boot
	default:
		after = "+" + span(event.Mono.Sub(last.Mono))
	}
	fmt.Fprintf(w, "%s  %-23s  %-8s  %s\n", clock(event.At), event.State, after, note)
}
