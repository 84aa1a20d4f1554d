package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"muster/client"
	"muster/wire"
)

func (a *app) loopCallCommand() *cobra.Command {
	var b wire.Booking
	var state, data string
	var timeout, deadline time.Duration
	var noWait bool
	c := &cobra.Command{
		Use:   "call CALL",
		Short: "Book a call on an event loop, and wait for its result",
		Long: `Book a call on an event loop, and wait for its result.

CALL is a handler of the daemon's, or a subject under sys.call. that another process serves. A bare
name is taken for the handler; where the daemon has none of that name, for sys.call.<name>.

Interrupting the command does not take the call out of the queue; "muster loop cancel" does.`,
		Example: "  muster loop call sys.call.backup --data '{\"full\":true}' --timeout 5m\n" +
			"  muster loop call rotate-logs --state CONTEXT_DESTROYING --no-wait",
		Args:              asUsed,
		ValidArgsFunction: a.completeCalls,
		RunE: func(c *cobra.Command, args []string) error {
			var err error
			if b.State, err = readState(c, state); err != nil {
				return err
			}
			if b.Data, err = a.jsonFlag(c, "data", data); err != nil {
				return err
			}
			b.Call, b.Timeout, b.Deadline = args[0], wire.InMicros(timeout), wire.InMicros(deadline)
			return a.with(c.Context(), func(ctx context.Context, bus *client.Client) error { return a.book(ctx, bus, b, noWait) })
		},
	}
	flags := c.Flags()
	flags.IntVar(&b.Loop, "loop", 0, "book it on the event loop of this `NUMBER`")
	flags.StringVar(&state, "state", wire.Operational.String(), "run it once the system is in this `STATE`")
	flags.StringVar(&data, "data", "", "hand this `JSON` to the call; \"-\" takes it from standard input")
	flags.DurationVar(&timeout, "timeout", wire.DefaultTimeout.Duration(), "let it run for up to `TIME`")
	flags.DurationVar(&deadline, "deadline", 0, "give it up when it has waited for `TIME` (default never)")
	flags.BoolVar(&b.Durable, "durable", false, "keep the booking over a crash of the daemon and of the power; it then runs at least once")
	flags.StringVar(&b.ID, "id", "", "call the booking `NAME`; a second one of that name is the first (default made up)")
	flags.BoolVar(&noWait, "no-wait", false, "end as soon as it is booked, and let the result go")
	completeFlag(c, "state", completeStates)
	for _, flag := range []string{"loop", "data", "timeout", "deadline", "id"} {
		completeFlag(c, flag, cobra.NoFileCompletions)
	}
	return c
}

// book books a call and, as told, waits for its result.
func (a *app) book(ctx context.Context, bus *client.Client, b wire.Booking, noWait bool) error {
	named := b.ID != ""
	var booked *client.Booked
	var err error
	for _, b.Call = range callsMeant(b.Call) {
		if booked, err = bus.Book(ctx, b); !errors.Is(err, &wire.Error{Code: wire.CodeNotFound}) {
			break
		}
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return hinted{fmt.Errorf("ended before the daemon had said whether %s is booked", b.Call), `"muster loop list" shows it if it is`}
	case err != nil:
		return err
	case noWait:
		return a.print(wire.Booked{ID: booked.ID, Position: booked.Position}, func(w io.Writer) {
			fmt.Fprintf(w, "%s is booked as %s, %s before it\n", b.Call, booked.ID, counted(booked.Position, "call"))
		})
	}
	if view, err := bus.State(ctx); err == nil && !view.State.Has(b.State) {
		fmt.Fprintf(a.Err, "hint: it waits for %s; the system is in %s\n", b.State, view.State)
	}
	waiting, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	if named {
		go lookAfter(waiting, bus, booked.ID, stop)
	}
	done, err := booked.Wait(waiting)
	switch {
	case ctx.Err() != nil:
		return hinted{fmt.Errorf("no longer waiting for %s, which stays booked", b.Call), fmt.Sprintf(`"muster loop cancel %s" takes it out`, booked.ID)}
	case done.ID == "":
		return err
	case err != nil && a.output == "text":
		return fmt.Errorf("%s failed: %s", b.Call, clean(done.Error))
	}
	return errors.Join(a.print(done, func(w io.Writer) {
		fmt.Fprintf(w, "%s ran for %s, after %s in the queue\n", b.Call, span(done.Ran.Duration()), span(done.Queued.Duration()))
		writeResult(w, done.Result)
	}), err)
}

// callsMeant lists what a person may mean by a name, the first that there is.
func callsMeant(call string) []string {
	switch {
	case strings.HasPrefix(call, wire.CallPrefix):
		return []string{call}
	case strings.Contains(call, "."): // which no handler's name has
		return []string{wire.CallPrefix + call}
	default:
		return []string{call, wire.CallPrefix + call}
	}
}

// lookAfter gives the wait for a result up once nobody will send it: a second booking with an id is the first, whose
// result goes to whoever made that one.
func lookAfter(ctx context.Context, bus *client.Client, id string, stop context.CancelCauseFunc) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for missed := 0; missed < 2; { // once may be while the result is on its way
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if list, err := client.Call(ctx, bus, wire.LoopList, wire.Empty{}); err == nil && !stands(list, id) {
			missed++
		}
	}
	stop(fmt.Errorf("call %s was booked before, and its result is told to whoever booked it first", id))
}

const lookEvery = 250 * time.Millisecond

// stands reports whether a booking waits or runs, as far as the list tells.
func stands(list wire.Loops, id string) bool {
	return slices.ContainsFunc(list.Loops, func(l wire.LoopView) bool {
		is := func(b wire.BookingView) bool { return b.ID == id }
		return l.Running != nil && is(*l.Running) || slices.ContainsFunc(l.Waiting, is) || l.Depth > len(l.Waiting)
	})
}

// writeResult shows what a call answered, unless that is nothing.
func writeResult(w io.Writer, result wire.Raw) {
	text, err := result.MarshalJSON()
	if err == nil && string(text) != "null" && string(text) != "{}" {
		writeJSON(w, text)
	}
}

// jsonFlag reads the JSON that a flag gives or, with "-", standard input.
func (a *app) jsonFlag(c *cobra.Command, flag, text string) (wire.Raw, error) {
	if !c.Flags().Changed(flag) {
		return nil, nil
	}
	if text == "-" {
		read, err := a.read(c.Context(), "-", wire.MaxRequest)
		if err != nil {
			return nil, err
		}
		text = string(read)
	}
	raw, err := wire.RawFromJSON([]byte(text))
	if err != nil {
		return nil, misused(c, "--%s: %s", flag, wire.AsError(err).Message)
	}
	return raw, nil
}

// completeCalls offers what stands in the queues, and where the calls of other processes are.
func (a *app) completeCalls(c *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	offers := []cobra.Completion{wire.CallPrefix}
	a.offer(c.Context(), func(ctx context.Context, bus *client.Client) {
		list, _ := client.Call(ctx, bus, wire.LoopList, wire.Empty{}) // nothing to offer without it
		for _, l := range list.Loops {
			for _, b := range l.Waiting {
				offers = append(offers, b.Call)
			}
		}
	})
	return offers, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}
