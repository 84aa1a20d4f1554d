package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"muster/client"
	"muster/wire"
)

func (a *app) notifiersCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "notifiers",
		GroupID: "state",
		Short:   "Who is asked before each move, and what they answered so far",
		Long: `Who is asked before each move, from the lowest order up, and what they answered so far. One that is away
is not asked; one that is required holds meanwhile.`,
		Example: "  muster notifiers\n  muster notifiers -o json",
		Args:    asUsed,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), func(ctx context.Context, bus *client.Client) error {
				list, err := client.Call(ctx, bus, wire.NotifierList, wire.Empty{})
				if err != nil {
					return err
				}
				return a.print(list, func(w io.Writer) { writeNotifiers(w, list.Notifiers) })
			})
		},
	}
}

func writeNotifiers(w io.Writer, notifiers []wire.NotifierView) {
	if len(notifiers) == 0 {
		fmt.Fprintln(w, "nobody is asked")
		return
	}
	var rows [][]string
	for _, n := range notifiers {
		status := "here"
		if !n.Alive {
			status = "away"
		}
		if n.Required {
			status += ", required"
		}
		slowest := "–"
		if n.Asked > 0 {
			slowest = span(n.Slowest.Duration())
		}
		rows = append(rows, []string{
			n.Name, strconv.Itoa(n.Order), status, strconv.FormatUint(n.Asked, 10), strconv.FormatUint(n.Accepted, 10),
			strconv.FormatUint(n.Deferred, 10), slowest, statesOf(n), clean(n.About),
		})
	}
	table(w, []string{"NAME", "ORDER", "STATUS", "ASKED", "ACCEPTED", "DEFERRED", "SLOWEST", "STATES", "ABOUT"}, rows)
}

// statesOf tells what a notifier is asked about.
func statesOf(n wire.NotifierView) string {
	if len(n.States) == 0 {
		return "all"
	}
	var names []string
	for _, state := range n.States {
		names = append(names, state.String())
	}
	return strings.Join(names, ",")
}

// who says in a hint which notifier may be meant, where a name is not found.
func (a *app) who(ctx context.Context, bus *client.Client, name string, err error) error {
	if !errors.Is(err, &wire.Error{Code: wire.CodeNotFound}) {
		return err
	}
	list, listing := client.Call(ctx, bus, wire.NotifierList, wire.Empty{})
	var names []string
	for _, n := range list.Notifiers {
		names = append(names, n.Name)
	}
	if listing != nil || len(names) == 0 || slices.Contains(names, name) {
		return err
	}
	return hinted{err, fmt.Sprintf(`the nearest is %s; "muster notifiers" lists all`, wire.Nearest(name, names))}
}
