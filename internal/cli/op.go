package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"muster/client"
	"muster/wire"
)

func (a *app) opCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:     "op",
		GroupID: "parts",
		Short:   "Operations on the device: reboot, clock, captive portal",
		Long: `Operations on the device that the daemon carries out. On the platform linux those are done that it has
the rights for; sim, the default, only plays them. "muster op list" says which there are.`,
	}, a.opListCommand(), a.opRebootCommand(), a.opClockCommand(), a.opPortalCommand())
}

func (a *app) opListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "The platform and what it can do",
		Args:  asUsed,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), func(ctx context.Context, bus *client.Client) error {
				ops, err := client.Call(ctx, bus, wire.OpList, wire.Empty{})
				if err != nil {
					return err
				}
				return a.print(ops, func(w io.Writer) {
					fmt.Fprintf(w, "platform  %s\n", ops.Platform)
					fmt.Fprintf(w, "can       %s\n", strings.Join(ops.Ops, ", "))
					if ops.WakeLatency > 0 {
						fmt.Fprintf(w, "wakes     within %s\n", span(ops.WakeLatency.Duration()))
					}
				})
			})
		},
	}
}

func (a *app) opPortalCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "captive-portal",
		Short: "Look for a captive portal now",
		Args:  asUsed,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), func(ctx context.Context, bus *client.Client) error {
				portal, err := client.Call(ctx, bus, wire.OpCaptivePortal, wire.Empty{})
				if err != nil {
					return err
				}
				return a.print(portal, func(w io.Writer) { writePortal(w, portal) })
			})
		},
	}
}

// portals says what the results of looking for a captive portal mean.
var portals = map[wire.PortalResult]string{
	wire.PortalOK:         "the way to the internet is free",
	wire.PortalCaptive:    "a portal wants something first",
	wire.PortalNoInternet: "there is no way to the internet",
	wire.PortalUnknown:    "nothing looks for a portal here",
}

func writePortal(w io.Writer, p wire.CaptivePortal) {
	fmt.Fprint(w, p.Result)
	if meaning := portals[p.Result]; meaning != "" {
		fmt.Fprintf(w, ": %s", meaning)
	}
	if p.URL != "" {
		fmt.Fprintf(w, ", at %s", clean(p.URL))
	}
	fmt.Fprintln(w)
}
