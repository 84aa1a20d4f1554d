package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"muster/client"
	"muster/wire"
)

func (a *app) stateHistoryCommand() *cobra.Command {
	var query wire.HistoryQuery
	c := &cobra.Command{
		Use:   "history",
		Short: "What happened in this boot, or in one of the last sixteen",
		Long: `What happened in this boot, or in one of the last sixteen: the boots that are known, and then every turn
that the transitions of one of them took, in seconds since it began. "muster blame" shows the same as a
chart of who held what.`,
		Example: "  muster state history\n  muster state history --limit 20\n  muster state history --boot 17-9f3c2a",
		Args:    asUsed,
		RunE: func(c *cobra.Command, _ []string) error {
			if query.Limit < 0 {
				return misused(c, "--limit is %d; 0, which means all, or more would be right", query.Limit)
			}
			return a.with(c.Context(), func(ctx context.Context, bus *client.Client) error {
				history, err := client.Call(ctx, bus, wire.StateHistory, query)
				if err != nil {
					return err
				}
				return a.print(history, func(w io.Writer) { writeHistory(w, history, query.Boot) })
			})
		},
	}
	c.Flags().IntVar(&query.Limit, "limit", 0, "only the last `N` turns (default all)")
	c.Flags().StringVar(&query.Boot, "boot", "", "the boot named `BOOT` (default this one)")
	completeFlag(c, "limit", cobra.NoFileCompletions)
	completeFlag(c, "boot", a.completeBoot)
	return c
}

func writeHistory(w io.Writer, history wire.History, boot string) {
	var rows [][]string
	for i, b := range history.Boots {
		operational := "never"
		if b.Operational > 0 {
			operational = span(b.Operational.Duration())
		}
		rows = append(rows, []string{b.Boot, b.Started.Time().Local().Format(time.DateTime), operational, b.Last.String(), howItEnded(b, i == 0)})
	}
	table(w, []string{"BOOT", "STARTED", "OPERATIONAL AFTER", "LAST STATE", ""}, rows)
	summary := chosen(history, boot)
	fmt.Fprintf(w, "\n%s\n", summary.Boot)
	for _, t := range history.Events {
		fmt.Fprintf(w, "%12.6f  %-10s  %s\n", t.Mono.Sub(summary.StartedMono).Seconds(), t.Kind, turn(t))
	}
}

// chosen finds the boot that was asked for; "" is the first, which is the one that runs.
func chosen(history wire.History, boot string) wire.BootSummary {
	for _, b := range history.Boots {
		if boot == "" || b.Boot == boot {
			return b
		}
	}
	return wire.BootSummary{Boot: boot} // the daemon would have refused it
}

func howItEnded(b wire.BootSummary, runs bool) string {
	switch {
	case runs:
		return "runs"
	case b.Clean:
		return "ended"
	}
	return "ended without warning"
}

// turn tells one turn of a transition: which one it is, and what is special about it.
func turn(t wire.Transition) string {
	var notes []string
	switch t.Kind {
	case wire.KindHeld:
		for _, h := range t.Holders {
			notes = append(notes, fmt.Sprintf("by %s: %s", h.Notifier, clean(h.Reason)))
		}
	case wire.KindOverridden:
		for _, o := range t.Overridden {
			notes = append(notes, fmt.Sprintf("%s: %s", o.Notifier, o.How))
		}
	case wire.KindProposed, wire.KindPaused, wire.KindAborted, wire.KindExpired:
		notes = append(notes, clean(t.Reason))
	case wire.KindResumed, wire.KindCommitted:
	}
	for _, name := range t.Lost {
		notes = append(notes, name+" is lost")
	}
	if t.Flapping {
		notes = append(notes, fmt.Sprintf("round %d, flapping", t.Round))
	}
	line := fmt.Sprintf("%s → %s", t.From, t.To)
	if len(notes) > 0 {
		line += "  " + strings.Join(notes, "; ")
	}
	return line
}

// completeBoot offers the boots that are known.
func (a *app) completeBoot(c *cobra.Command, _ []string, _ string) (boots []cobra.Completion, _ cobra.ShellCompDirective) {
	a.offer(c.Context(), func(ctx context.Context, bus *client.Client) {
		history, _ := client.Call(ctx, bus, wire.StateHistory, wire.HistoryQuery{Limit: 1}) // without a daemon there are none
		for _, b := range history.Boots {
			boots = append(boots, cobra.CompletionWithDesc(b.Boot, "of "+b.Started.Time().Local().Format(time.DateTime)))
		}
	})
	return boots, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}
