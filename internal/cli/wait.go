package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"muster/client"
	"muster/wire"
)

func (a *app) waitCommand() *cobra.Command {
	var timeout time.Duration
	c := &cobra.Command{
		Use:     "wait STATE",
		GroupID: "state",
		Short:   "Wait until the device is in a state",
		Long: `Wait until the device is in a state, a boot state being reached at or above it. For scripts and units.

A daemon that does not run yet is waited for as well. When the time is over, the command tells where the
device is and what holds it, and ends with exit code 5. --timeout 0 only looks.`,
		Example:           "  muster wait OPERATIONAL\n  muster wait TIME_VALID --timeout 30s && start-logging",
		Args:              asUsed,
		ValidArgsFunction: completeState,
		RunE: func(c *cobra.Command, args []string) error {
			state, err := readState(c, args[0])
			if err != nil {
				return err
			}
			if timeout < 0 {
				return misused(c, "--timeout is %s; 0 or more would be right", timeout)
			}
			ctx := c.Context()
			if c.Flags().Changed("timeout") {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, timeout)
				defer cancel()
			}
			event, err := a.await(ctx, state)
			switch {
			case err == nil:
				return a.print(event, func(w io.Writer) { fmt.Fprintln(w, event.State) })
			case errors.Is(ctx.Err(), context.DeadlineExceeded):
				return a.notInTime(c.Context(), state, timeout)
			}
			return err
		},
	}
	c.Flags().DurationVar(&timeout, "timeout", 0, "wait up to `D` (default for ever)")
	completeFlag(c, "timeout", cobra.NoFileCompletions)
	return c
}

// await waits for a state, and before that for a daemon.
func (a *app) await(ctx context.Context, state wire.State) (wire.StateEvent, error) {
	bus, err := a.patiently(ctx)
	if err != nil {
		return wire.StateEvent{}, err
	}
	defer bus.Close()
	return bus.WaitFor(ctx, state)
}

// patiently joins the bus as soon as there is one. Where it is shows only then.
func (a *app) patiently(ctx context.Context) (*client.Client, error) {
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if bus, err := a.connect(ctx); err == nil {
			return bus, nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
		}
	}
}

// notInTime takes a last look, and tells what is in the way.
func (a *app) notInTime(ctx context.Context, state wire.State, timeout time.Duration) error {
	late := fmt.Errorf("%s is not reached after %s", state, span(timeout))
	err := a.with(ctx, func(ctx context.Context, bus *client.Client) error {
		view, err := bus.State(ctx)
		if err != nil {
			return err
		}
		if view.State.Has(state) {
			late = nil
			return a.print(view, func(w io.Writer) { fmt.Fprintln(w, view.State) })
		}
		return a.print(view, func(w io.Writer) { writeStatus(w, view) })
	})
	switch {
	case err != nil && late != nil:
		return coded{fmt.Errorf("%w: %w", late, err), exitNotThere}
	case late != nil:
		return coded{late, exitNotThere}
	}
	return err
}
