package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"muster/client"
	"muster/wire"
)

func (a *app) accessCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:     "access",
		GroupID: "look",
		Short:   "Who is connected, and who may do what",
	}, a.accessWhoCommand(), a.accessCanCommand(), a.accessTicketCommand())
}

func (a *app) accessWhoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "who",
		Short: "Who is connected: identity, roles, process",
		Args:  asUsed,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), func(ctx context.Context, bus *client.Client) error {
				list, err := client.Call(ctx, bus, wire.AccessWho, wire.Empty{})
				if err != nil {
					return err
				}
				return a.print(list, func(w io.Writer) { writeConnections(w, list.Connections, time.Now()) })
			})
		},
	}
}

func writeConnections(w io.Writer, list []wire.Connection, now time.Time) {
	var rows [][]string
	for _, c := range list {
		process := c.Exe
		if c.PID != 0 {
			process = strings.TrimSpace(strconv.Itoa(c.PID) + " " + c.Exe)
		}
		pace := ""
		if c.Slow {
			pace = fmt.Sprintf("slow: %d bytes wait", c.Pending)
		}
		rows = append(rows, []string{
			c.Identity, strings.Join(c.Roles, ","), string(c.Via), strconv.FormatUint(c.Conn, 10), cmp.Or(process, "-"),
			cmp.Or(clean(c.Name), "-"), span(max(0, now.Sub(c.Since.Time()))), strconv.Itoa(c.Subscriptions), pace,
		})
	}
	table(w, []string{"IDENTITY", "ROLES", "VIA", "CONN", "PROCESS", "NAME", "FOR", "SUBS", ""}, rows)
}

func (a *app) accessCanCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "can WHO RIGHT",
		Short: "Whether somebody may do something, and which rule says so",
		Long: `Whether somebody may do something, and which rule of which role says so. WHO is a user, a key, or
"me"; RIGHT is in the protocol's words, as the tables of docs/protocol.md name it for each request
and event. The exit code is 0 for yes and 4 for no.`,
		Example: "  muster access can user:modem notifier:modem\n  muster access can me op:reboot",
		Args:    asUsed,
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			switch len(args) {
			case 0:
				return []cobra.Completion{"me", "uid:", "user:", "nkey:"}, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
			case 1:
				return wire.Rights(), cobra.ShellCompDirectiveNoFileComp
			}
			return nil, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, args []string) error {
			query := wire.AccessQuery{Who: args[0], Right: args[1]}
			if query.Who == "me" {
				query.Who = ""
			}
			if err := query.Check(); err != nil {
				return err
			}
			return a.with(c.Context(), func(ctx context.Context, bus *client.Client) error {
				ruling, err := client.Call(ctx, bus, wire.AccessCan, query)
				if err != nil {
					return err
				}
				err = a.print(ruling, func(w io.Writer) {
					word := "no"
					if ruling.Allowed {
						word = "yes"
					}
					fmt.Fprintf(w, "%s: %s\n", word, ruling.Rule)
				})
				if err == nil && !ruling.Allowed {
					return codeError(exitRefused)
				}
				return err
			})
		},
	}
}

func (a *app) accessTicketCommand() *cobra.Command {
	var ttl time.Duration
	c := &cobra.Command{
		Use:   "ticket ROLE",
		Short: "Let a web page connect for a while",
		Long: `Make a user and a password with which a web page may connect to websocket.listen for a while, with
what the role may. Both are shown once; the connection ends when the ticket does.`,
		Example: "  muster access ticket observer --for 10m",
		Args:    asUsed,
		RunE: func(c *cobra.Command, args []string) error {
			wish := wire.TicketWish{Role: args[0], TTL: wire.InMicros(ttl)}
			if err := wish.Check(); err != nil {
				return err
			}
			return a.with(c.Context(), func(ctx context.Context, bus *client.Client) error {
				ticket, err := client.Call(ctx, bus, wire.AccessTicket, wish)
				if err != nil {
					return err
				}
				return a.print(ticket, func(w io.Writer) {
					fmt.Fprintf(w, "url       %s\nuser      %s\npassword  %s\ngood for  %s, as %s\n", ticket.URL, ticket.User, ticket.Password,
						span(time.Until(ticket.Expires.Time())), ticket.Role)
				})
			})
		},
	}
	c.Flags().DurationVar(&ttl, "for", 0, "how long it is good, 1s to 1h (default 10m)")
	return c
}
