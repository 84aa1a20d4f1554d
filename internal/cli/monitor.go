package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"muster/client"
	"muster/wire"
)

// maxUnshown bounds the messages that wait to be shown. What comes beyond is dropped, which is said.
const maxUnshown = 8192

func (a *app) monitorCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "monitor [SUBJECT…]",
		GroupID: "look",
		Short:   "Watch what goes over the bus: events, requests, questions and answers",
		Long: `Watch what goes over the bus, one line each, until it is interrupted: the events of the daemon and of
the participants, and the requests, questions and answers as the daemon sees them, secrets taken out.

A SUBJECT may have wildcards, * for one token and > for the rest. It picks events by theirs, and
requests, questions and answers by that which they were sent to. Nothing said means everything but
sys.state, which repeats sys.state.<STATE>.`,
		Example: "  muster monitor\n" +
			"  muster monitor sys.transition 'sys.state.*'\n" +
			"  muster monitor 'sys.api.blob.>' -o json",
		Args: asUsed,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return watchable(), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
		},
		RunE: func(c *cobra.Command, args []string) error {
			for _, pattern := range args {
				if err := checkPattern(pattern); err != nil {
					return misused(c, "%v", err)
				}
				if len(sources([]string{pattern})) == 0 {
					return misused(c, "nothing is ever told on %s; the events are on %s", pattern, strings.Join(events(), ", "))
				}
			}
			return a.with(c.Context(), func(ctx context.Context, bus *client.Client) error { return a.monitor(ctx, bus, args) })
		},
	}
}

// traced is what traces tell of.
var traced = []string{"sys.api.>", "sys.loop.*", wire.NotifyPrefix + "*", wire.CallPrefix + ">"}

// events lists the patterns of the events. Participants may name theirs with several tokens.
func events() (patterns []string) {
	for _, e := range wire.Events() {
		pattern := e.Pattern()
		if several, ok := strings.CutSuffix(pattern, "*"); ok && e.Sender != "" {
			pattern = several + ">"
		}
		patterns = append(patterns, pattern)
	}
	return patterns
}

// watchable lists what a person may want to watch.
func watchable() []cobra.Completion {
	all := append(events(), traced...)
	for _, e := range wire.Endpoints() {
		all = append(all, cobra.CompletionWithDesc(e.Pattern(), e.Doc))
	}
	return all
}

// sources lists what has to be listened to for what was asked for.
func sources(asked []string) []string {
	return slices.DeleteFunc(events(), func(event string) bool {
		if len(asked) == 0 {
			return event == wire.StateSubject
		}
		traces := overlap(event, wire.TracePrefix+"*")
		return !slices.ContainsFunc(asked, func(pattern string) bool {
			return overlap(pattern, event) || traces && slices.ContainsFunc(traced, func(t string) bool { return overlap(pattern, t) })
		})
	})
}

// monitor shows what was asked for.
func (a *app) monitor(ctx context.Context, bus *client.Client, asked []string) error {
	messages := make(chan *nats.Msg, maxUnshown)
	for _, pattern := range sources(asked) {
		if _, err := bus.Conn().ChanSubscribe(pattern, messages); err != nil {
			return fmt.Errorf("listen on %s: %w", pattern, err)
		}
	}
	if err := bus.Conn().Flush(); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	fmt.Fprintln(a.Err, "muster: listening; Ctrl-C ends it")
	for {
		select {
		case <-ctx.Done():
			return nil
		case m := <-messages:
			s := sight(m)
			if !s.among(asked) {
				continue
			}
			if err := a.print(s, func(w io.Writer) { s.write(w) }); err != nil {
				return err
			}
		}
	}
}
