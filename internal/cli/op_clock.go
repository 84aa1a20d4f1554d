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

func (a *app) opClockCommand() *cobra.Command {
	var source string
	c := &cobra.Command{
		Use:   "set-clock TIME",
		Short: "Set the wall clock of the device",
		Long: `Set the wall clock of the device to a time such as 2026-11-24T22:15:00Z, or "2026-11-24 22:15:00"
in the zone of this process. "now" takes the clock of the machine that the command runs on.`,
		Example: "  muster op set-clock 2026-11-24T22:15:00Z --source 'the GPS receiver'\n  muster op set-clock now",
		Args:    asUsed,
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return []cobra.Completion{"now", time.Now().Format(time.RFC3339)}, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error {
			at, err := readTime(c, args[0])
			if err != nil {
				return err
			}
			return a.with(c.Context(), func(ctx context.Context, bus *client.Client) error {
				set, err := client.Call(ctx, bus, wire.OpSetClock, wire.SetClock{At: wire.At(at), Source: source})
				if err != nil {
					return err
				}
				return a.print(set, func(w io.Writer) { writeClock(w, set) })
			})
		},
	}
	c.Flags().StringVar(&source, "source", "muster op set-clock", "say where the time is from: `TEXT`")
	completeFlag(c, "source", cobra.NoFileCompletions)
	return c
}

func writeClock(w io.Writer, set wire.ClockSet) {
	change := wire.Micros(set.After - set.Before).Duration()
	way := "on"
	if change < 0 {
		change, way = -change, "back"
	}
	fmt.Fprintf(w, "the clock went %s by %s, to %s\n", way, span(change), set.After.Time().Format(time.RFC3339))
}

// readTime reads a point of the wall clock as people write it.
func readTime(c *cobra.Command, text string) (time.Time, error) {
	if text == "now" {
		return time.Now(), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateTime, "2006-01-02T15:04:05", "2006-01-02 15:04"} {
		if at, err := time.ParseInLocation(layout, strings.ToUpper(text), time.Local); err == nil {
			return at, nil
		}
	}
	return time.Time{}, misused(c, "%q is not a time; 2026-11-24T22:15:00Z or now would be right", text)
}
