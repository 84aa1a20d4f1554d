package main

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"muster/wire"
)

// mark encloses what is made: the first line stays, the text up to the end is replaced.
var mark = regexp.MustCompile(`(?s)(<!-- generated: ([a-z-]+) -->\n).*?(<!-- end -->)`)

// fill replaces what stands between the marks of a page. Each table must have its place, and each place its table.
func fill(page []byte, tables map[string]string) ([]byte, error) {
	var unknown []string
	missing := maps.Clone(tables)
	filled := mark.ReplaceAllFunc(page, func(found []byte) []byte {
		parts := mark.FindSubmatch(found)
		name := string(parts[2])
		if _, known := tables[name]; !known {
			unknown = append(unknown, name)
		}
		delete(missing, name)
		return []byte(string(parts[1]) + tables[name] + string(parts[3]))
	})
	if len(unknown) > 0 || len(missing) > 0 {
		return nil, fmt.Errorf("marks without a table: %v; tables without a mark: %v", unknown, slices.Sorted(maps.Keys(missing)))
	}
	return filled, nil
}

// tables makes every table of the protocol's page.
func tables(s *source) map[string]string {
	made := map[string]string{
		"states": s.states(), "codes": s.codes(), "events": events(), "limits": limits(), "messages": s.messages(),
	}
	for _, area := range areas {
		made[area] = s.endpoints(area)
	}
	return made
}

// areas are the parts of the endpoints' table, each a section of the page.
var areas = []string{"state", "notifier", "loop", "op", "blob", "access"}

// areaOf gives the part in which a subject stands.
func areaOf(subject string) string {
	return strings.Split(strings.TrimPrefix(strings.TrimPrefix(subject, "sys."), "api."), ".")[0]
}

// table lays out rows; the first is the head.
func table(rows ...[]string) string {
	var b strings.Builder
	for i, row := range rows {
		cells := make([]string, len(row))
		for j, cell := range row {
			cells[j] = strings.ReplaceAll(cell, "|", `\|`)
		}
		b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
		if i == 0 {
			b.WriteString("|" + strings.Repeat(" --- |", len(row)) + "\n")
		}
	}
	return b.String()
}

func (s *source) states() string {
	rows := [][]string{{"number", "state", "meaning"}}
	for i, state := range wire.States() {
		rows = append(rows, []string{fmt.Sprint(i), code(state.String()), prose(s.counted["State"][i])})
	}
	return table(rows...)
}

func (s *source) codes() string {
	rows := [][]string{{"code", "meaning"}}
	for _, c := range s.values["Code"] {
		rows = append(rows, []string{code(c.text), quoteKeys.ReplaceAllString(c.comment, "`detail.$1`")})
	}
	return table(rows...)
}

// quoteKeys finds a key of an error's detail, as Go writes it.
var quoteKeys = regexp.MustCompile(`Detail\["([a-z]+)"\]`)

func (s *source) endpoints(area string) string {
	rows := [][]string{{"request", "right", "takes", "answers", "meaning"}}
	for _, e := range wire.Endpoints() {
		if areaOf(e.Subject) == area {
			rows = append(rows, []string{code(e.Subject), code(e.Right), shape(e.Req), shape(e.Ans), prose(e.Doc)})
		}
	}
	return table(rows...)
}

func events() string {
	rows := [][]string{{"subject", "kept", "carries", "to receive", "to send", "meaning"}}
	for _, e := range wire.Events() {
		kept, carries, sender := "", "what the sender decides", "the daemon alone"
		if e.Kept {
			kept = "yes"
		}
		if e.Type != nil {
			carries = typeLink(e.Type)
		}
		if e.Sender != "" {
			sender = code(e.Sender)
		}
		rows = append(rows, []string{code(e.Subject), kept, carries, code(e.Right), sender, prose(e.Doc)})
	}
	return table(rows...)
}

// shape shows a message at a glance: ! behind a key that must be there, ? behind one that may be missing.
func shape(t reflect.Type) string {
	keys := keysOf(t)
	if len(keys) == 0 {
		return "–"
	}
	shown := make([]string, len(keys))
	for i, k := range keys {
		shown[i] = k.key
		switch {
		case requests()[t] && k.required:
			shown[i] += "!"
		case !k.required:
			shown[i] += "?"
		}
	}
	return fmt.Sprintf("[%s](#%s) `{%s}`", t.Name(), strings.ToLower(t.Name()), strings.Join(shown, ", "))
}

// messages explains every message key by key.
func (s *source) messages() string {
	var b strings.Builder
	for _, t := range messageTypes() {
		fmt.Fprintf(&b, "\n#### %s\n\n%s\n\n", t.Name(), prose(s.sentence(t.Name())))
		rows := [][]string{{"key", "type", "", "meaning"}}
		for _, k := range keysOf(t) {
			there := "always"
			switch {
			case requests()[t] && k.required:
				there = "required"
			case !k.required:
				there = "optional"
			}
			rows = append(rows, []string{code(k.key), typeLink(k.typ), there, prose(s.meaning(k))})
		}
		b.WriteString(table(rows...))
	}
	b.WriteByte('\n')
	return b.String()
}

// meaning is the comment of a key, and what values it may have where they are few.
func (s *source) meaning(k keyOf) string {
	about := s.about(k)
	var words []string
	for _, c := range s.values[k.typ.Name()] {
		if k.typ.Kind() == reflect.String {
			words = append(words, code(c.text))
		}
	}
	if len(words) == 0 {
		return about
	}
	return strings.TrimSpace(about + " One of " + strings.Join(words, ", ") + ".")
}

// messageTypes lists every struct that has keys, in the order in which the endpoints and events need them.
func messageTypes() []reflect.Type {
	var all []reflect.Type
	var add func(t reflect.Type)
	add = func(t reflect.Type) {
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct || slices.Contains(all, t) || len(keysOf(t)) == 0 {
			return
		}
		all = append(all, t)
		for _, k := range keysOf(t) {
			add(k.typ)
		}
	}
	for _, e := range wire.Endpoints() {
		add(e.Req)
		add(e.Ans)
	}
	for _, q := range questions {
		add(q.sends)
		if q.gets != nil {
			add(q.gets)
		}
	}
	for _, e := range wire.Events() {
		if e.Type != nil {
			add(e.Type)
		}
	}
	add(reflect.TypeFor[wire.Error]())
	return all
}

// typeLink names a type as the protocol does.
func typeLink(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[wire.Raw]():
		return "any value"
	case reflect.TypeFor[wire.State]():
		return "[state](#states)"
	case reflect.TypeFor[[]byte]():
		return "binary"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeLink(t.Elem())
	case reflect.Slice:
		return "list of " + typeLink(t.Elem())
	case reflect.Struct:
		return fmt.Sprintf("[%s](#%s)", t.Name(), strings.ToLower(t.Name()))
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "boolean"
	case reflect.Map:
		return "map"
	default:
		return "integer"
	}
}

// limits lists the bounds that are constants of the protocol.
func limits() string {
	return table(
		[]string{"limit", "value"},
		[]string{"a blob's content", size(wire.MaxBlob)},
		[]string{"another request, before `413`", size(wire.MaxRequest)},
		[]string{"an SMD event", size(wire.MaxSMD)},
		[]string{"any payload: the server's own limit", size(wire.MaxPayload)},
		[]string{"a name, or one's own `id`", fmt.Sprintf("1 to %d characters", wire.MaxName)},
		[]string{"a reason or a description", fmt.Sprintf("%d bytes", wire.MaxText)},
		[]string{"`wait_us` of a wish", "up to " + span(wire.MaxWait)},
		[]string{"`timeout_us` of a notifier", span(wire.MinTimeout) + " to " + span(wire.MaxTimeout) + ", by default " + span(wire.DefaultTimeout)},
		[]string{"`retry_us` of a deferral", span(wire.MinRetry) + " to " + span(wire.MaxRetry)},
		[]string{"`timeout_us` of a booked call", "up to " + span(wire.MaxRun) + ", by default " + span(wire.DefaultTimeout)},
		[]string{"levels of nesting", fmt.Sprint(wire.MaxDepth)},
	)
}

// span gives a duration as people write it: in the largest unit that divides it.
func span(d wire.Micros) string {
	for _, unit := range []struct {
		name string
		size time.Duration
	}{{"h", time.Hour}, {"min", time.Minute}, {"s", time.Second}} {
		if whole := d.Duration() / unit.size; whole > 0 && whole*unit.size == d.Duration() {
			return fmt.Sprintf("%d %s", whole, unit.name)
		}
	}
	return fmt.Sprintf("%d ms", d.Duration().Milliseconds())
}

func size(n int) string {
	if n >= 1<<20 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}

// subject finds a subject, or the shape of an identifier, in a sentence.
var subject = regexp.MustCompile(`\bsys\.[A-Za-z<>.-]*[A-Za-z>]|\b_INBOX\b|<[a-z]+>(\.<[a-z]+>)*`)

// prose makes a comment fit for a page, where angle brackets are taken for tags.
func prose(text string) string { return subject.ReplaceAllStringFunc(text, code) }

func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}
