package cli

import (
	"cmp"
	"context"
	"time"

	"github.com/spf13/cobra"

	"muster/client"
	"muster/wire"
)

func (a *app) opRebootCommand() *cobra.Command {
	var reboot wire.Reboot
	var mode, onLimit string
	var limit time.Duration
	c := &cobra.Command{
		Use:   "reboot",
		Short: "Reboot, halt or power off, once nobody holds it",
		Long: `Reboot, halt or power the device off. It goes through CONTEXT_DESTROYING, so that every notifier can
hold it until its work is safe, as long as the limit allows. What comes of it is told as by
"muster state request".`,
		Example: "  muster op reboot --reason 'new kernel'\n  muster op reboot --reason 'battery low' --mode poweroff --limit 5s --on-limit proceed\n" +
			"  muster op reboot --reason 'can we?' --dry-run",
		Args: asUsed,
		RunE: func(c *cobra.Command, _ []string) error {
			reboot.Mode, reboot.Limit, reboot.OnLimit = wire.RebootMode(mode), wire.InMicros(limit), wire.OnLimit(onLimit)
			if err := reboot.Check(); err != nil {
				return misused(c, "%s", wire.AsError(err).Message)
			}
			return a.with(c.Context(), func(ctx context.Context, bus *client.Client) error {
				outcome, err := client.Call(ctx, bus, wire.OpReboot, reboot)
				if err != nil {
					return err
				}
				story := tale{wish: reboot.Wish(), outcome: outcome}
				if a.output == "text" {
					story.inquire(ctx, bus)
				}
				return cmp.Or(a.print(outcome, story.write), failure(story.wish, outcome))
			})
		},
	}
	flags := c.Flags()
	flags.StringVar(&reboot.Reason, "reason", "", "tell others why: `TEXT`")
	flags.StringVar(&mode, "mode", string(wire.ModeReboot), "go down in this `MODE`: reboot, halt or poweroff")
	flags.DurationVar(&limit, "limit", 0, "let it be held up to `D` (default as configured)")
	flags.StringVar(&onLimit, "on-limit", "", "`abort` or proceed when the limit is over (default as configured)")
	flags.BoolVar(&reboot.Force, "force", false, "ask nobody")
	flags.BoolVar(&reboot.DryRun, "dry-run", false, "ask everybody, move nothing")
	_ = c.MarkFlagRequired("reason") // there is such a flag
	completeFlag(c, "mode", cobra.FixedCompletions([]string{"reboot", "halt", "poweroff"}, cobra.ShellCompDirectiveNoFileComp))
	completeFlag(c, "on-limit", cobra.FixedCompletions([]string{"abort", "proceed"}, cobra.ShellCompDirectiveNoFileComp))
	for _, flag := range []string{"reason", "limit"} {
		completeFlag(c, flag, cobra.NoFileCompletions)
	}
	return c
}
