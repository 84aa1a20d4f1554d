package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// pairs is a YAML mapping in the order in which it is written. Values are strings, integers, booleans, pairs,
// list and flow; those that are nil or empty are left out.
type pairs []pair

type pair struct {
	key   string
	value any
}

// list is a YAML sequence.
type list []any

// flow is JSON, which is YAML as it stands.
type flow string

// write writes the mapping with its lines indented by depth steps.
func (p pairs) write(out *bytes.Buffer, depth int) {
	for _, entry := range p {
		if !blank(entry.value) {
			indent(out, depth)
			writeKey(out, entry.key)
			writeValue(out, entry.value, depth)
		}
	}
}

// writeValue writes what stands behind a key.
func writeValue(out *bytes.Buffer, v any, depth int) {
	switch v := v.(type) {
	case pairs:
		out.WriteByte('\n')
		v.write(out, depth+1)
	case list:
		out.WriteByte('\n')
		for _, entry := range v {
			writeEntry(out, entry, depth+1)
		}
	default:
		out.WriteString(" " + scalar(v) + "\n")
	}
}

// writeEntry writes an entry of a sequence; a mapping begins on the line of the dash.
func writeEntry(out *bytes.Buffer, entry any, depth int) {
	indent(out, depth)
	nested, ok := entry.(pairs)
	if !ok {
		out.WriteString("- " + scalar(entry) + "\n")
		return
	}
	var inner bytes.Buffer
	nested.write(&inner, depth+1)
	out.WriteString("- ")
	out.Write(bytes.TrimLeft(inner.Bytes(), " "))
}

func indent(out *bytes.Buffer, depth int) { out.WriteString(strings.Repeat("  ", depth)) }

func writeKey(out *bytes.Buffer, key string) { out.WriteString(scalar(key) + ":") }

// word is text that YAML takes for nothing but text.
var word = regexp.MustCompile(`^[A-Za-z_$][A-Za-z0-9_.$-]*( [A-Za-z0-9_.$-]+)*$`)

// reserved are the words that some YAML takes for something else.
var reserved = map[string]bool{"true": true, "false": true, "yes": true, "no": true, "on": true, "off": true, "null": true, "y": true, "n": true}

func scalar(v any) string {
	switch v := v.(type) {
	case flow:
		return string(v)
	case string:
		if word.MatchString(v) && !reserved[strings.ToLower(v)] {
			return v
		}
		return quoted(v)
	default:
		return fmt.Sprint(v)
	}
}

// quoted gives a text as JSON, with what HTML would mind left as it is.
func quoted(text string) string {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	_ = e.Encode(text) // a string always encodes
	return strings.TrimSuffix(out.String(), "\n")
}

func blank(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case pairs:
		return len(v) == 0
	case list:
		return len(v) == 0
	default:
		return false
	}
}
