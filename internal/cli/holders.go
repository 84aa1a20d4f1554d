package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"muster/client"
	"muster/wire"
)

func (a *app) holdersCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "holders",
		GroupID: "state",
		Short:   "Who holds the move that is under way, and why",
		Long: `Who holds the move that is under way, why, and for how long. With -o json each holder is a line, and
nobody is none.`,
		Example: "  muster holders\n  muster resume backup",
		Args:    asUsed,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), func(ctx context.Context, bus *client.Client) error {
				view, err := bus.State(ctx)
				if err != nil {
					return err
				}
				if a.output == "text" {
					return a.print(view, func(w io.Writer) { writeHolders(w, view) })
				}
				for _, h := range holding(view) {
					if err := a.print(h, nil); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
}

// holding lists who holds.
func holding(view wire.StateView) []wire.Holder {
	if view.Transition == nil {
		return nil
	}
	return view.Transition.Holders
}

func writeHolders(w io.Writer, view wire.StateView) {
	holders, t := holding(view), view.Transition
	if len(holders) == 0 {
		fmt.Fprintf(w, "nobody holds; the state is %s\n", view.State)
		return
	}
	limit := ""
	if t.Limit > 0 {
		limit = " of at most " + span(t.Limit.Duration())
	}
	fmt.Fprintf(w, "%s → %s, under way for %s%s: %s\n\n", t.From, t.To, span(view.Mono.Sub(t.Started)), limit, clean(t.Reason))
	var rows [][]string
	for _, h := range holders {
		again := "when it resumes"
		switch {
		case h.Retry > 0:
			again = "after " + span(h.Retry.Duration())
		case h.Reason == wire.ReasonNotHere:
			again = "when it is back"
		}
		rows = append(rows, []string{h.Notifier, clean(h.Reason), span(max(0, view.Mono.Sub(h.Since))), again})
	}
	table(w, []string{"NOTIFIER", "WHY", "FOR", "ASKED AGAIN"}, rows)
}

// completeHolder offers those who hold.
func (a *app) completeHolder(c *cobra.Command, args []string, _ string) (names []cobra.Completion, _ cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	a.offer(c.Context(), func(ctx context.Context, bus *client.Client) {
		view, _ := bus.State(ctx) // without a daemon nobody holds
		for _, h := range holding(view) {
			names = append(names, cobra.CompletionWithDesc(h.Notifier, clean(h.Reason)))
		}
	})
	return names, cobra.ShellCompDirectiveNoFileComp
}
