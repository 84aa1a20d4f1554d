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
	out   io.Writer
	fail  context.CancelCauseFunc
	start time.Time

	mu sync.Mutex // a line is written whole

	transitions *nats.Subscription
	passed      uint64   // the event up to which everything is told
	entered     []string // states since the last line
}

func newStory(out io.Writer, fail context.CancelCauseFunc) *story {
	return &story{out: out, fail: fail, start: time.Now()}
}

// The look of the story: it fits a terminal of 80 columns.
const (
	storyWidth  = 79
	storyIndent = 19 // of what, behind when and who
)

// say tells what somebody does.
func (s *story) say(who, format string, args ...any) {
	text := strings.ReplaceAll(wrap(fmt.Sprintf(format, args...), storyWidth-storyIndent), "\n", "\n"+strings.Repeat(" ", storyIndent))
	s.write(fmt.Sprintf("%5.2f s  %-8s  %s\n", time.Since(s.start).Seconds(), who, text))
}

// write puts a text out as it is. One that cannot be written ends the demo.
func (s *story) write(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := io.WriteString(s.out, text); err != nil {
		s.fail(fmt.Errorf("tell the story: %w", err))
	}
}

// listen begins to hear of transitions.
func (s *story) listen(bus *client.Client) (err error) {
	s.transitions, err = bus.Conn().SubscribeSync(wire.TransitionTopic)
	return err
}

// next gives the next event of a transition that is not told yet.
func (s *story) next(ctx context.Context) (wire.Transition, error) {
	for {
		var t wire.Transition
		m, err := s.transitions.NextMsgWithContext(ctx)
		if err != nil {
			if cause := context.Cause(ctx); cause != nil {
				err = cause
			}
			return t, err
		}
		if err := wire.Decode(m.Data, &t); err != nil {
			return t, fmt.Errorf("event on %s: %w", m.Subject, err)
		}
		if t.Seq > s.passed {
			return t, nil
		}
	}
}

// tell puts an event into words. States that are entered one after the other share a line.
func (s *story) tell(t wire.Transition) {
	step := t.To == t.From+1 && t.To.Boot()
	if t.Kind == wire.KindCommitted {
		s.entered = append(s.entered, t.To.String())
	}
	if len(s.entered) > 0 && (t.Kind != wire.KindCommitted || t.To == t.Goal) && (t.Kind != wire.KindProposed || !step) {
		s.say("muster", "enters %s", strings.Join(s.entered, " → "))
		s.entered = nil
	}
	switch t.Kind {
	case wire.KindProposed:
		if !step {
			s.say("muster", "is to enter %s: %s", t.To, t.Reason)
		}
	case wire.KindHeld:
		for _, h := range t.Holders {
			s.say("muster", "%s is held by %s: %s%s", t.To, h.Notifier, h.Reason, again(h))
		}
	case wire.KindResumed:
		for _, name := range t.Lost {
			s.say("muster", "%s is lost: its connection has closed", name)
		}
		s.say("muster", "asks again")
	case wire.KindPaused:
		s.say("muster", "leaves %s for later", t.To)
	case wire.KindAborted, wire.KindExpired:
		s.say("muster", "does not enter %s: %s", t.To, t.Kind)
	case wire.KindOverridden:
		for _, o := range t.Overridden {
			s.say("muster", "waits no longer for %s: %s", o.Notifier, o.How)
		}
	case wire.KindCommitted:
	}
}

// again tells when a holder will be asked again without having said anything.
func again(h wire.Holder) string {
	if h.Retry == 0 {
		return ""
	}
	return fmt.Sprintf(" (asked again after %s)", span(h.Retry.Duration()))
}

// wrap breaks a text into lines of at most so many characters, unless a word is longer.
func wrap(text string, width int) string {
	var b strings.Builder
	column := 0
	for word := range strings.FieldsSeq(text) {
		length := len([]rune(word))
		switch {
		case b.Len() == 0:
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

// fold puts what stands behind the last gap of a line below it where the line is wider than that.
func fold(text string, width int) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		gap := strings.LastIndex(line, "  ")
		if len([]rune(line)) <= width || gap < 0 {
			b.WriteString(line)
			continue
		}
		b.WriteString(strings.TrimRight(line[:gap], " ") + "\n    " + line[gap+2:])
	}
	return b.String()
}
