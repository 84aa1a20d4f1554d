package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"muster/client"
	"muster/wire"
)

func (a *app) stateRequestCommand() *cobra.Command {
	var wish wire.StateWish
	var wait, limit time.Duration
	var onLimit string
	c := &cobra.Command{
		Use:   "request STATE",
		Short: "Wish for a state",
		Long: `Wish for a state, and tell what came of it:

  reached  the device is there; a boot state is reached at or above it
  held     somebody holds the move, which goes on as soon as nobody does
  pending  neither yet
  aborted  somebody ended the move, or wished for something more urgent
  expired  it was held longer than its limit

Only the first ends with exit code 0, the others with 5; so does a dry run that somebody would hold.`,
		Example: "  muster state request OPERATIONAL\n" +
			"  muster state request MODAL_UPDATING --reason 'new firmware' --wait 30s\n" +
			"  muster state request CONTEXT_DESTROYING --dry-run\n" +
			"  muster state request IFACE_COLDPLUG --fall-back --reason 'the cable is out'",
		Args:              asUsed,
		ValidArgsFunction: completeState,
		RunE: func(c *cobra.Command, args []string) (err error) {
			if wish.Target, err = readState(c, args[0]); err != nil {
				return err
			}
			if wait < 0 || wait > wire.MaxWait.Duration() {
				return misused(c, `--wait is %s; 0 to %s would be right, and "muster wait" waits longer`, wait, span(wire.MaxWait.Duration()))
			}
			if limit < 0 {
				return misused(c, "--limit is %s; 0 or more would be right", limit)
			}
			wish.Wait, wish.Limit, wish.OnLimit = wire.InMicros(wait), wire.InMicros(limit), wire.OnLimit(onLimit)
			if err := wish.Check(); err != nil {
				return misused(c, "%s", wire.AsError(err).Message)
			}
			return a.with(c.Context(), func(ctx context.Context, bus *client.Client) error { return a.wish(ctx, bus, wish) })
		},
	}
	flags := c.Flags()
	flags.StringVar(&wish.Reason, "reason", "requested with muster state request", "`TEXT` that tells others why")
	flags.DurationVar(&wait, "wait", 0, "wait up to `D` for it although it is held (at most 5m)")
	flags.DurationVar(&limit, "limit", 0, "let it be held up to `D` (default as configured)")
	flags.StringVar(&onLimit, "on-limit", "", "`abort` or proceed when the limit is over (default as configured)")
	flags.BoolVar(&wish.FallBack, "fall-back", false, "STATE is an earlier boot state")
	flags.BoolVar(&wish.Own, "own", false, "stay there only as long as this command runs, which is until it is interrupted")
	flags.BoolVar(&wish.Force, "force", false, "ask nobody")
	flags.BoolVar(&wish.DryRun, "dry-run", false, "ask everybody, move nothing")
	completeFlag(c, "on-limit", cobra.FixedCompletions([]string{"abort", "proceed"}, cobra.ShellCompDirectiveNoFileComp))
	for _, flag := range []string{"reason", "wait", "limit"} {
		completeFlag(c, flag, cobra.NoFileCompletions)
	}
	return c
}

// wish makes a wish and tells its outcome. One for a state to own is held on to.
func (a *app) wish(ctx context.Context, bus *client.Client, wish wire.StateWish) error {
	outcome, err := a.wishOnce(ctx, bus, wish)
	if err != nil || wish.DryRun || !wish.Own {
		return cmp.Or(err, failure(wish, outcome))
	}
	for outcome.Outcome == wire.OutcomeHeld || outcome.Outcome == wire.OutcomePending {
		wish.Wait = wire.MaxWait
		if outcome, err = a.wishOnce(ctx, bus, wish); err != nil {
			return ended(ctx, err)
		}
	}
	if outcome.Outcome != wire.OutcomeReached {
		return failure(wish, outcome)
	}
	return a.keep(ctx, bus, wish.Target)
}

func (a *app) wishOnce(ctx context.Context, bus *client.Client, wish wire.StateWish) (wire.StateOutcome, error) {
	outcome, err := bus.Request(ctx, wish)
	switch {
	case ctx.Err() != nil:
		return outcome, hinted{err, `the wish may stand; "muster state abort" ends the move`}
	case err != nil:
		return outcome, err
	}
	story := tale{wish: wish, outcome: outcome}
	if a.output == "text" {
		story.inquire(ctx, bus)
	}
	return outcome, a.print(outcome, story.write)
}

// keep stays connected until the system has left a state again, or the command is interrupted.
func (a *app) keep(ctx context.Context, bus *client.Client, state wire.State) error {
	for event, err := range bus.Watch(ctx) {
		if err != nil {
			return err
		}
		if event.State != state {
			return coded{fmt.Errorf("%s was left for %s: %s", state, event.State, clean(event.Reason)), exitNotThere}
		}
	}
	return nil
}

// ended is the error of a command that runs until it is interrupted: none, when it was.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// failure is the exit code of a wish that is not fulfilled, with what may help.
func failure(wish wire.StateWish, outcome wire.StateOutcome) error {
	switch outcome.Outcome {
	case wire.OutcomeReached:
		return nil
	case wire.OutcomePending:
		if wish.DryRun {
			return nil // nobody would hold it
		}
		return hinted{codeError(exitNotThere), fmt.Sprintf(`the wish stands; "muster wait %s" waits for it`, wish.Target)}
	case wire.OutcomeHeld:
		if !wish.DryRun {
			return hinted{codeError(exitNotThere), fmt.Sprintf(`the wish stands until nobody holds; "muster wait %s" waits for that`, wish.Target)}
		}
	case wire.OutcomeExpired:
		return hinted{codeError(exitNotThere), "--limit lets it be held longer, --on-limit proceed goes on without those who hold"}
	case wire.OutcomeAborted:
	}
	return codeError(exitNotThere)
}

// tale is what people are told of a wish.
type tale struct {
	wish    wire.StateWish
	outcome wire.StateOutcome
	now     wire.MonoMicros // of the daemon's machine
	why     string          // it was not fulfilled
}

// inquire asks for what the outcome does not say. Where that fails, less is told.
func (t *tale) inquire(ctx context.Context, bus *client.Client) {
	switch t.outcome.Outcome {
	case wire.OutcomeHeld:
		if view, err := bus.State(ctx); err == nil {
			t.now = view.Mono
		}
	case wire.OutcomeAborted, wire.OutcomeExpired:
		history, err := client.Call(ctx, bus, wire.StateHistory, wire.HistoryQuery{Limit: 16})
		if err != nil {
			return
		}
		for _, event := range history.Events {
			if event.ID == t.outcome.ID && (event.Kind == wire.KindAborted || event.Kind == wire.KindExpired) {
				t.why = event.Reason
			}
		}
	case wire.OutcomeReached, wire.OutcomePending:
	}
}

func (t *tale) write(w io.Writer) {
	outcome, state := string(t.outcome.Outcome), ""
	if t.outcome.State != t.wish.Target {
		state = fmt.Sprintf("; the state is %s", t.outcome.State)
	}
	if t.wish.DryRun && t.outcome.Outcome == wire.OutcomePending {
		outcome, state = "free", "; nobody would hold it"
	}
	fmt.Fprintf(w, "%-8s %s%s\n", outcome, t.wish.Target, state)
	for _, h := range t.outcome.Holders {
		if t.wish.DryRun {
			fmt.Fprintf(w, "%-8s by %s: %s\n", "", h.Notifier, clean(h.Reason))
		} else {
			fmt.Fprintf(w, "%-8s by %s\n", "", holderLine(h, t.now))
		}
	}
	if t.why != "" {
		fmt.Fprintf(w, "%-8s %s\n", "", clean(t.why))
	}
}
