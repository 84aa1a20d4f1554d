package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"muster/client"
	"muster/wire"
)

// story tells what happens, a line a thing: when, who, what.
type story struct {
	out    io.Writer
	fail   context.CancelCauseFunc
	start  time.Time
	events *nats.Subscription // sys.transition
	last   uint64             // the event before those that are to be told

	mu   sync.Mutex
	path []string // the states entered since the last line
}

func newStory(out io.Writer, fail context.CancelCauseFunc) *story {
	return &story{out: out, fail: fail, start: time.Now()}
}

// The look of the story: it fits a terminal of 80 columns.
const (
	storyWidth  = 79
	storyIndent = 19 // of what, behind when and who
)

// say writes a line. One that cannot be written ends the demo.
func (s *story) say(who, format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := wrap(fmt.Sprintf(format, args...), storyWidth-storyIndent)
	when := fmt.Sprintf("%5.2f s  %-8s  ", time.Since(s.start).Seconds(), who)
	s.write(when + strings.ReplaceAll(text, "\n", "\n"+strings.Repeat(" ", storyIndent)) + "\n")
}

// write puts a text out as it is.
func (s *story) write(text string) {
	if _, err := io.WriteString(s.out, text); err != nil {
		s.fail(fmt.Errorf("tell the story: %w", err))
	}
}

// listen begins to hear what happens on the bus, and tells where the system is by now.
func (s *story) listen(ctx context.Context, bus *client.Client) (wire.StateView, error) {
	var err error
	if s.events, err = bus.Conn().SubscribeSync(wire.TransitionTopic); err != nil {
		return wire.StateView{}, err
	}
	view, err := bus.State(ctx)
	s.last = view.Seq
	return view, err
}

// next gives the next event of a transition, and tells it.
func (s *story) next(ctx context.Context) (wire.Transition, error) {
	for {
		var t wire.Transition
		m, err := s.events.NextMsgWithContext(ctx)
		if err != nil {
			return t, context.Cause(ctx)
		}
		if err := wire.Decode(m.Data, &t); err != nil {
			return t, fmt.Errorf("event on %s: %w", m.Subject, err)
		}
		if t.Seq > s.last {
			s.last = t.Seq
			s.tell(t)
			return t, nil
		}
	}
}

// tell puts an event into words. States that are entered without anybody in the way share a line.
func (s *story) tell(t wire.Transition) {
	if t.Kind == wire.KindCommitted {
		s.path = append(s.path, t.To.String())
		if t.To != t.Goal {
			return
		}
	}
	if len(s.path) > 0 && t.Kind != wire.KindProposed {
		s.say("muster", "%s", strings.Join(s.path, " → "))
		s.path = nil
	}
	switch t.Kind {
	case wire.KindHeld:
		for _, h := range t.Holders {
			s.say("muster", "%s is held by %s: %s%s", t.To, h.Notifier, h.Reason, again(h))
		}
	case wire.KindResumed:
		if len(t.Lost) > 0 {
			s.say("muster", "sees that %s is gone, and asks the others again", strings.Join(t.Lost, ", "))
		}
	case wire.KindPaused, wire.KindAborted, wire.KindExpired, wire.KindOverridden:
		s.say("muster", "%s: %s", t.To, t.Kind)
	case wire.KindProposed, wire.KindCommitted:
	}
}

func again(h wire.Holder) string {
	if h.Retry == 0 {
		return ""
	}
	return fmt.Sprintf(" (asked again in %s)", span(h.Retry.Duration()))
}

// wrap breaks a text into lines of that many characters at most, unless a word is longer.
func wrap(text string, width int) string {
	var b strings.Builder
	column := 0
	for i, word := range strings.Fields(text) {
		length := len([]rune(word))
		switch {
		case i == 0:
		case column+1+length > width:
			b.WriteByte('\n')
			column = 0
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += length
	}
	return b.String()
}
