package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"muster/client"
	"muster/wire"
)

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "status",
		GroupID: "state",
		Short:   "Where the device is, where it is going, and what holds it",
		Args:    asUsed,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), func(ctx context.Context, bus *client.Client) error {
				view, err := bus.State(ctx)
				if err != nil {
					return err
				}
				return a.print(view, func(w io.Writer) { writeStatus(w, view) })
			})
		},
	}
}

func writeStatus(w io.Writer, v wire.StateView) {
	fmt.Fprintf(w, "state  %s (%d), for %s\n", v.State, v.Number, span(v.Mono.Sub(v.Since)))
	switch t := v.Transition; {
	case t != nil:
		way := ""
		if t.To != v.Goal {
			way = fmt.Sprintf(", on the way to %s", v.Goal)
		}
		fmt.Fprintf(w, "next   %s%s: %s\n", t.To, way, clean(t.Reason))
		if t.Limit > 0 {
			fmt.Fprintf(w, "limit  %s of %s\n", span(v.Mono.Sub(t.Started)), span(t.Limit.Duration()))
		}
		for _, h := range t.Holders {
			fmt.Fprintf(w, "held   by %s\n", holderLine(h, v.Mono))
		}
	case v.Paused != nil:
		fmt.Fprintf(w, "paused %s; on to %s in %s\n", clean(v.Paused.Reason), v.Goal, span(v.Paused.Until.Sub(v.Mono)))
	case v.Goal != v.State:
		fmt.Fprintf(w, "goal   %s\n", v.Goal)
	}
	fmt.Fprintf(w, "boot   %s, muster %s, protocol %d\n", v.Boot, v.Version, v.Protocol)
	if !v.Store.OK || v.Store.Missed > 0 {
		fmt.Fprintf(w, "store  ok: %t, events missed: %d\n", v.Store.OK, v.Store.Missed)
	}
}
