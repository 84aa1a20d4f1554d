package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"muster/client"
	"muster/wire"
)

func (a *app) loopCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:     "loop",
		GroupID: "parts",
		Short:   "The event loops, on which one call runs at a time",
		Long: `The event loops of the daemon. Each runs one booked call at a time, in the order booked among those
whose state has come; a call runs in the daemon or in any process that is attached.`,
	}, a.loopListCommand(), a.loopCallCommand(), a.loopCancelCommand())
}

func (a *app) loopListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "What runs and what waits on each loop",
		Args:  asUsed,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), func(ctx context.Context, bus *client.Client) error {
				view, err := bus.State(ctx) // it has the daemon's clock
				if err != nil {
					return err
				}
				list, err := client.Call(ctx, bus, wire.LoopList, wire.Empty{})
				if err != nil {
					return err
				}
				return a.print(list, func(w io.Writer) {
					for _, l := range list.Loops {
						writeLoop(w, l, view.Mono)
					}
				})
			})
		},
	}
}

func writeLoop(w io.Writer, l wire.LoopView, now wire.MonoMicros) {
	fmt.Fprintf(w, "loop %d: %d waiting, %d done, %d failed\n", l.N, l.Depth, l.Done, l.Failed)
	var rows [][]string
	row := func(when string, b wire.BookingView) {
		kept := ""
		if b.Durable {
			kept = "durable"
		}
		rows = append(rows, []string{"  " + b.Call, when, span(max(0, now.Sub(b.Since))), b.Identity, b.ID, kept})
	}
	if l.Running != nil {
		row("runs now", *l.Running)
	}
	for _, b := range l.Waiting {
		row("from "+b.State.String(), b)
	}
	if len(rows) > 0 {
		table(w, []string{"  CALL", "RUNS", "BOOKED", "BY", "ID"}, rows)
	}
	if more := l.Depth - len(l.Waiting); more > 0 {
		fmt.Fprintf(w, "  and %d more\n", more)
	}
}

func (a *app) loopCancelCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "cancel ID",
		Short:             "Take a booked call out that has not started",
		Example:           "  muster loop cancel nightly",
		Args:              asUsed,
		ValidArgsFunction: a.completeBookings,
		RunE: func(c *cobra.Command, args []string) error {
			return a.with(c.Context(), func(ctx context.Context, bus *client.Client) error {
				cancelled, err := client.Call(ctx, bus, wire.LoopCancel, wire.BookingID{ID: args[0]})
				if errors.Is(err, &wire.Error{Code: wire.CodeNotFound}) {
					return hinted{err, `"muster loop list" shows what waits`}
				}
				if err != nil {
					return err
				}
				return a.print(cancelled, func(w io.Writer) { fmt.Fprintf(w, "call %s will not run\n", args[0]) })
			})
		},
	}
}

// completeBookings offers the calls that wait.
func (a *app) completeBookings(c *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var offers []cobra.Completion
	if len(args) == 0 {
		a.offer(c.Context(), func(ctx context.Context, bus *client.Client) {
			list, _ := client.Call(ctx, bus, wire.LoopList, wire.Empty{}) // nothing to offer without it
			for _, l := range list.Loops {
				for _, b := range l.Waiting {
					offers = append(offers, cobra.CompletionWithDesc(b.ID, b.Call))
				}
			}
		})
	}
	return offers, cobra.ShellCompDirectiveNoFileComp
}
