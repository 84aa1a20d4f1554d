package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"

	"muster/wire"
)

// sighting is a message that was seen on the bus.
type sighting struct {
	Subject string   `json:"subject"`
	Event   wire.Raw `json:"event,omitempty"` // what it says
	Text    string   `json:"text,omitempty"`  // what it says, if that is no message
	Data    []byte   `json:"data,omitempty"`  // and if it is no text either
	at      wire.UnixMicros
}

// sight takes a message as it came. Participants may send JSON, or anything.
func sight(m *nats.Msg) sighting {
	s := sighting{Subject: m.Subject, at: wire.At(time.Now())}
	fromJSON, err := wire.RawFromJSON(m.Data)
	switch {
	case len(m.Data) > 0 && wire.Raw(m.Data).Valid() == nil && !isCharacter(m.Data):
		s.Event = m.Data
	case err == nil:
		s.Event = fromJSON
	case utf8.Valid(m.Data):
		s.Text = string(m.Data)
	default:
		s.Data = m.Data
	}
	var stamp wire.Stamp
	if s.Event.Into(&stamp) == nil && stamp.At > 0 {
		s.at = stamp.At
	}
	return s
}

// isCharacter reports whether data is one ASCII character, which would be a number in MessagePack too.
func isCharacter(data []byte) bool { return len(data) == 1 && data[0] < utf8.RuneSelf }

// among reports whether the message is one of those that were asked for.
func (s sighting) among(asked []string) bool {
	if len(asked) == 0 {
		return true
	}
	about := s.Subject
	var t wire.Trace
	if strings.HasPrefix(s.Subject, wire.TracePrefix) && s.Event.Into(&t) == nil {
		about = t.Subject
	}
	return slices.ContainsFunc(asked, func(pattern string) bool { return overlap(pattern, s.Subject) || overlap(pattern, about) })
}

// write tells of the message in a line: when, what, and about what.
func (s sighting) write(w io.Writer) {
	what, about := s.told()
	fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("%s  %-11s  %s", clock(s.at), clean(what), clean(about)), " "))
}

// told says what the message is, and what it says.
func (s sighting) told() (what, about string) {
	topic := strings.TrimPrefix(s.Subject, "sys.")
	var (
		state wire.StateEvent
		move  wire.Transition
		fault wire.LoopError
		blob  wire.BlobEvent
		trace wire.Trace
	)
	switch {
	case (s.Subject == wire.StateSubject || strings.HasPrefix(topic, "state.")) && s.Event.Into(&state) == nil && state.Boot != "":
		return "state", fmt.Sprintf("%s, from %s: %s", state.State, state.From, state.Reason)
	case s.Subject == wire.TransitionTopic && s.Event.Into(&move) == nil && move.Kind != "":
		return string(move.Kind), turn(move)
	case s.Subject == wire.LoopErrorTopic && s.Event.Into(&fault) == nil && fault.ID != "":
		return "loop-error", fmt.Sprintf("%s of %s on loop %d: %s", fault.Call, fault.Identity, fault.Loop, fault.Error)
	case strings.HasPrefix(topic, "blob.") && s.Event.Into(&blob) == nil && blob.Boot != "":
		return "blob", fmt.Sprintf("%s has %s, revision %d", strings.TrimPrefix(topic, "blob."), size(blob.Size), blob.Revision)
	case strings.HasPrefix(s.Subject, wire.TracePrefix) && s.Event.Into(&trace) == nil && trace.Kind != "":
		return string(trace.Kind), traceLine(trace)
	}
	what, rest, _ := strings.Cut(topic, ".")
	return what, strings.TrimSpace(rest + "  " + s.content())
}

// content shows what a message says that has no form of its own.
func (s sighting) content() string {
	switch {
	case len(s.Event) > 0:
		var fields map[string]any
		if s.Event.Into(&fields) != nil {
			return jsonLine(s.Event)
		}
		delete(fields, "at_us") // which stands at the beginning of the line
		delete(fields, "mono_us")
		return jsonLine(fields)
	case s.Text != "":
		return fmt.Sprintf("%q", s.Text)
	case len(s.Data) > 0:
		return fmt.Sprintf("% x", s.Data)
	}
	return ""
}

// traceLine tells of a request, a question or an answer.
func traceLine(t wire.Trace) string {
	who := t.Identity
	if t.Conn != 0 {
		who += fmt.Sprintf(" #%d", t.Conn)
	}
	asked := strings.HasPrefix(t.Subject, wire.NotifyPrefix) || strings.HasPrefix(t.Subject, wire.CallPrefix)
	way := "to"
	if asked == (t.Kind == wire.TraceAnswer) { // the daemon asks there, and is asked everywhere else
		way = "from"
	}
	line := fmt.Sprintf("%-32s  %s %s", t.Subject, way, who)
	if t.Kind == wire.TraceAnswer {
		result := "ok"
		if t.Code != 0 {
			result = fmt.Sprintf("refused with %d", int(t.Code))
		}
		line += fmt.Sprintf("  %s after %s", result, span(t.Took.Duration()))
	}
	if payload := jsonLine(t.Payload); payload != "{}" && payload != "null" {
		line += "  " + payload
	}
	if t.Dropped > 0 {
		line += fmt.Sprintf("  (%d before it were left out: somebody reads too slowly)", t.Dropped)
	}
	return line
}

// jsonLine shows a value as JSON.
func jsonLine(v any) string {
	text, err := wire.EncodeJSON(v)
	if err != nil {
		return fmt.Sprintf("(%s)", message(err))
	}
	return string(text)
}
