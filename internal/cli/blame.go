package cli

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"muster/client"
	"muster/wire"
)

func (a *app) blameCommand() *cobra.Command {
	var query wire.HistoryQuery
	var file string
	c := &cobra.Command{
		Use:     "blame",
		GroupID: "look",
		Short:   "Where the time of the boot went: each state, how long it was held, and by whom",
		Long: `Where the time of the boot went: each state on the way to OPERATIONAL, how long it took, and who held
it for how long and why; then the moves after the boot that were held or not made, and the end of the daemon.

--svg draws it as a picture that shows more when a bar is pointed at.`,
		Example: "  muster blame\n  muster blame --boot 17-9f3c2a\n  muster blame --svg boot.svg",
		Args:    asUsed,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), func(ctx context.Context, bus *client.Client) error {
				chart, err := charted(ctx, bus, query)
				if err != nil {
					return err
				}
				if file == "" {
					return a.print(chart, chart.writeText)
				}
				return a.draw(chart, file)
			})
		},
	}
	c.Flags().StringVar(&query.Boot, "boot", "", "the boot named `BOOT` (default this one)")
	c.Flags().StringVar(&file, "svg", "", "draw it as a picture to `FILE`; - is standard output")
	completeFlag(c, "boot", a.completeBoot)
	return c
}

// charted asks for the timeline of a boot, and makes a chart of it.
func charted(ctx context.Context, bus *client.Client, query wire.HistoryQuery) (chart, error) {
	history, err := client.Call(ctx, bus, wire.StateHistory, query)
	if err != nil {
		return chart{}, err
	}
	view, err := bus.State(ctx)
	if err != nil {
		return chart{}, err
	}
	return blame(history, query.Boot, view.Mono), nil
}

// draw writes the picture to a file.
func (a *app) draw(c chart, name string) error {
	if name == "-" {
		return c.writeSVG(a.Out)
	}
	f, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("draw the chart: %w", err)
	}
	err = c.writeSVG(f)
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err != nil {
		return fmt.Errorf("draw the chart: %w", err)
	}
	return a.print(struct {
		File string `json:"file"`
	}{name}, func(w io.Writer) { fmt.Fprintf(w, "drawn to %s\n", name) })
}
