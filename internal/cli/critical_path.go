package cli

import (
	"context"

	"github.com/spf13/cobra"

	"muster/client"
	"muster/wire"
)

func (a *app) criticalPathCommand() *cobra.Command {
	var query wire.HistoryQuery
	c := &cobra.Command{
		Use:     "critical-path",
		GroupID: "look",
		Short:   "Which holds set the length of the boot, one after the other",
		Long: `Which holds set the length of the boot, one after the other: for each state the notifier that was the
last to let the device go on, for how long everything waited for it and why, and who that was before. A hold that
another one outlasted is not among them: without it the boot would have taken as long. "muster blame" shows all.`,
		Example: "  muster critical-path\n  muster critical-path --boot 17-9f3c2a",
		Args:    asUsed,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), func(ctx context.Context, bus *client.Client) error {
				chart, err := charted(ctx, bus, query)
				if err != nil {
					return err
				}
				path := chart.criticalPath()
				return a.print(path, path.writeText)
			})
		},
	}
	c.Flags().StringVar(&query.Boot, "boot", "", "the boot named `BOOT` (default this one)")
	completeFlag(c, "boot", a.completeBoot)
	return c
}
