package main

import (
	"bytes"
	"cmp"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"muster/wire"
)

const header = "# Made by internal/docgen from package wire; change it there and run: go run ./internal/docgen\n"

// asyncAPI gives the AsyncAPI document: every subject as a channel, every request with its answer and every event as an
// operation of the daemon's.
func asyncAPI(source *source) ([]byte, error) {
	d := &document{
		source: source, messages: map[string]pairs{},
		schemas: &schemas{source: source, byName: map[string]pairs{}},
	}
	for _, e := range wire.Endpoints() {
		if err := d.endpoint(e); err != nil {
			return nil, err
		}
	}
	for _, q := range questions {
		if err := d.question(q); err != nil {
			return nil, err
		}
	}
	for _, e := range wire.Events() {
		if err := d.event(e); err != nil {
			return nil, err
		}
	}
	var out bytes.Buffer
	out.WriteString(header)
	pairs{
		{"asyncapi", "3.1.0"},
		{"info", pairs{
			{"title", "muster"},
			{"version", flow(strconv.Quote(strconv.Itoa(wire.Protocol)))},
			{"description", "The processes of a device agree on the state of the device. What the subjects mean is explained in protocol.md."},
			{"license", pairs{{"name", "Apache-2.0"}}},
		}},
		{"defaultContentType", msgpackType},
		{"servers", pairs{{"device", pairs{
			{"host", "127.0.0.1:4222"},
			{"protocol", "nats"},
			{"description", "The daemon on the device; the address is the configuration's."},
		}}}},
		{"channels", d.channels},
		{"operations", d.operations},
		{"components", pairs{{"messages", d.sortedMessages()}, {"schemas", d.schemas.sorted()}}},
	}.write(&out, 0)
	return out.Bytes(), nil
}

const msgpackType = "application/vnd.msgpack"

// question is a subject on which the daemon asks a participant, or tells it alone.
type question struct {
	id, subject, doc string
	sends, gets      reflect.Type // gets is nil where any answer, or none, will do
	answered         bool
}

var questions = []question{
	{
		"notify", "sys.notify.<notifier>", "The daemon asks a notifier whether the system may make this transition.",
		reflect.TypeFor[wire.Question](), reflect.TypeFor[wire.Answer](), true,
	},
	{
		"call", "sys.call.<call>", "The daemon asks a participant to run its part of the loop now; what it answers is the result. One to four tokens.",
		reflect.TypeFor[wire.Call](), nil, true,
	},
	{
		"done", "sys.done.<token>", "The daemon tells the booker that its call is done; the subject may also be one under _INBOX.",
		reflect.TypeFor[wire.Done](), nil, false,
	},
}

// document collects the parts.
type document struct {
	source     *source
	schemas    *schemas
	channels   pairs
	operations pairs
	messages   map[string]pairs
}

func (d *document) endpoint(e *wire.EndpointInfo) error {
	id := channelID(e.Subject)
	request, err := d.message(e.Req)
	if err != nil {
		return err
	}
	answer, err := d.message(e.Ans)
	if err != nil {
		return err
	}
	fault, err := d.message(reflect.TypeFor[wire.Error]())
	if err != nil {
		return err
	}
	d.channel(id, e.Subject, request)
	d.channel(id+".answer", "", answer, fault)
	d.operations = append(d.operations, pair{id, pairs{
		{"action", "receive"},
		{"channel", reference("channels", id)},
		{"summary", e.Doc},
		{"description", needs(e.Right)},
		{"messages", list{within(id, request)}},
		{"reply", pairs{
			{"channel", reference("channels", id+".answer")},
			{"messages", list{within(id+".answer", answer), within(id+".answer", fault)}},
		}},
	}})
	return nil
}

func (d *document) question(q question) error {
	sent, err := d.message(q.sends)
	if err != nil {
		return err
	}
	d.channel(q.id, q.subject, sent)
	operation := pairs{
		{"action", "send"},
		{"channel", reference("channels", q.id)},
		{"summary", q.doc},
		{"messages", list{within(q.id, sent)}},
	}
	if q.answered {
		answer := anything
		if q.gets != nil {
			if answer, err = d.message(q.gets); err != nil {
				return err
			}
		} else {
			d.anything()
		}
		d.channel(q.id+".answer", "", answer)
		operation = append(operation, pair{"reply", pairs{
			{"channel", reference("channels", q.id+".answer")},
			{"messages", list{within(q.id+".answer", answer)}},
		}})
	}
	d.operations = append(d.operations, pair{q.id, operation})
	return nil
}

func (d *document) event(e *wire.EventInfo) error {
	id, action, about := channelID(e.Subject), "send", ""
	sent := anything
	if e.Type != nil {
		var err error
		if sent, err = d.message(e.Type); err != nil {
			return err
		}
	} else {
		d.anything()
	}
	if e.Kept {
		about = "Kept in the stream " + wire.EventsStream + ". "
	}
	if e.Sender != "" {
		action = "receive"
		about = "Sent by participants, who need the right " + e.Sender + ". "
	}
	d.channel(id, e.Subject, sent)
	d.operations = append(d.operations, pair{id, pairs{
		{"action", action},
		{"channel", reference("channels", id)},
		{"summary", e.Doc},
		{"description", about + "To receive it takes the right " + e.Right + "."},
		{"messages", list{within(id, sent)}},
	}})
	return nil
}

// channel adds a subject; without one it is an inbox of the requester's.
func (d *document) channel(id, subject string, messages ...string) {
	var address any = flow("null")
	if subject != "" {
		address = strings.NewReplacer("<", "{", ">", "}").Replace(subject)
	}
	var parameters, all pairs
	for _, found := range parameter.FindAllStringSubmatch(subject, -1) {
		parameters = append(parameters, pair{found[1], pairs{{"description", parameterDocs[found[1]]}}})
	}
	for _, name := range messages {
		all = append(all, pair{name, reference("components", "messages", name)})
	}
	d.channels = append(d.channels, pair{id, pairs{{"address", address}, {"messages", all}, {"parameters", parameters}}})
}

var parameter = regexp.MustCompile(`<([a-z]+)>`)

// parameterDocs explains what stands in angle brackets in a subject.
var parameterDocs = map[string]string{
	"notifier": "The name of a notifier.",
	"name":     "A name: 1 to 64 characters from A-Z a-z 0-9 _ -.",
	"n":        "The number of an event loop, from 0.",
	"index":    "The index of a blob, from 0.",
	"state":    "The name of a state.",
	"call":     "One to four tokens that the participant chose.",
	"token":    "A token that the booker chose.",
	"kind":     "The kind of message that was seen.",
	"what":     "A token that the sender chooses.",
	"class":    "The number of a private class, 0 to 7.",
}

// message adds a type that travels and gives its name.
func (d *document) message(t reflect.Type) (string, error) {
	name := t.Name()
	if _, known := d.messages[name]; known {
		return name, nil
	}
	examples, err := d.source.examplesOf(name)
	if err != nil {
		return "", err
	}
	var shown list
	for _, e := range examples {
		shown = append(shown, pairs{{"name", e.key}, {"payload", e.value}})
	}
	var headers pairs
	if t == reflect.TypeFor[wire.Error]() {
		headers = pairs{{"type", "object"}, {"required", list{wire.HeaderErrorCode, wire.HeaderError}}, {"properties", pairs{
			{wire.HeaderErrorCode, pairs{{"type", "string"}, {"description", "The code."}}},
			{wire.HeaderError, pairs{{"type", "string"}, {"description", "The message on one line."}}},
		}}}
	}
	d.messages[name] = pairs{
		{"name", name}, {"summary", d.source.sentence(name)}, {"headers", headers}, {"payload", d.schemas.of(t)}, {"examples", shown},
	}
	return name, nil
}

// anything is the name of the message whose content its sender decides.
const anything = "Anything"

func (d *document) anything() {
	d.messages[anything] = pairs{{"name", anything}, {"summary", "What the sender decides."}, {"payload", pairs{{"type", "object"}}}}
}

func (d *document) sortedMessages() pairs { return sorted(d.messages) }

func (s *schemas) sorted() pairs { return sorted(s.byName) }

func sorted(all map[string]pairs) pairs {
	var p pairs
	for key, value := range all {
		p = append(p, pair{key, value})
	}
	slices.SortFunc(p, func(a, b pair) int { return cmp.Compare(a.key, b.key) })
	return p
}

// channelID gives a subject as an identifier: its words without the root and the parameters.
func channelID(subject string) string {
	subject = strings.TrimPrefix(strings.TrimPrefix(subject, "sys.api."), "sys.")
	id := parameter.ReplaceAllString(subject, "")
	id = strings.Trim(strings.ReplaceAll(id, "..", "."), ".")
	switch subject {
	case "loop.<n>":
		return "loop.book"
	case "state.<state>":
		return "state.entered"
	default:
		return id
	}
}

// needs says which right a request takes.
func needs(right string) string {
	if right == "" {
		return ""
	}
	return "Takes the right " + right + "."
}

func reference(path ...string) pairs { return pairs{{"$ref", "#/" + strings.Join(path, "/")}} }

// within refers to a message as its channel has it.
func within(channel, message string) pairs {
	return reference("channels", channel, "messages", message)
}
