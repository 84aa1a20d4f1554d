package main

import (
	"math"
	"reflect"
	"strings"

	"muster/wire"
)

// schemas collects the JSON schema of every type that messages are made of.
type schemas struct {
	source *source
	order  []string
	byName map[string]pairs
}

// times says what the clocks' types count.
var times = map[string]string{
	"Micros":     "A duration in microseconds.",
	"UnixMicros": "A point of the wall clock: microseconds since 1970.",
	"MonoMicros": "A point of the clock that counts suspend and never jumps: microseconds.",
}

// of gives the schema of a type, a reference where it has a name of its own.
func (s *schemas) of(t reflect.Type) pairs {
	switch t {
	case reflect.TypeFor[wire.Raw]():
		return pairs{{"description", "Any value, handed on as it is."}}
	case reflect.TypeFor[wire.State]():
		return s.named(t, s.state)
	case reflect.TypeFor[[]byte]():
		return pairs{{"type", "string"}, {"contentEncoding", "base64"}, {"description", "Binary; base64 in JSON."}}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.of(t.Elem())
	case reflect.Struct:
		return s.named(t, func() pairs { return s.object(t) })
	case reflect.Slice:
		return pairs{{"type", "array"}, {"items", s.of(t.Elem())}}
	case reflect.Map:
		return pairs{{"type", "object"}}
	case reflect.Bool:
		return pairs{{"type", "boolean"}}
	case reflect.String:
		if t.PkgPath() != "" {
			return s.named(t, func() pairs { return s.words(t) })
		}
		return pairs{{"type", "string"}}
	default:
		return s.number(t)
	}
}

// named puts a schema among the components, once, and refers to it.
func (s *schemas) named(t reflect.Type, build func() pairs) pairs {
	if _, known := s.byName[t.Name()]; !known {
		s.byName[t.Name()] = nil // for a type within itself
		s.byName[t.Name()] = build()
		s.order = append(s.order, t.Name())
	}
	return pairs{{"$ref", "#/components/schemas/" + t.Name()}}
}

func (s *schemas) state() pairs {
	var names list
	for _, state := range wire.States() {
		names = append(names, state.String())
	}
	return pairs{{"type", "string"}, {"description", s.source.sentence("State")}, {"enum", names}}
}

// words is the schema of a type of texts with constants.
func (s *schemas) words(t reflect.Type) pairs {
	var values list
	for _, c := range s.source.values[t.Name()] {
		values = append(values, c.text)
	}
	return pairs{{"type", "string"}, {"description", s.source.sentence(t.Name())}, {"enum", values}}
}

func (s *schemas) number(t reflect.Type) pairs {
	if about, known := times[t.Name()]; known {
		return pairs{{"type", "integer"}, {"format", "int64"}, {"description", about}}
	}
	if t == reflect.TypeFor[wire.Code]() {
		var codes list
		for _, c := range s.source.values["Code"] {
			codes = append(codes, flow(c.text))
		}
		return pairs{{"type", "integer"}, {"enum", codes}}
	}
	if t.Kind() >= reflect.Uint && t.Kind() <= reflect.Uint64 {
		return pairs{{"type", "integer"}, {"minimum", 0}, {"maximum", uint64(math.MaxUint64) >> (64 - t.Bits())}}
	}
	return pairs{{"type", "integer"}, {"format", "int64"}}
}

// object is the schema of a struct. What is always sent is required of an answer; of a request only what has to be.
func (s *schemas) object(t reflect.Type) pairs {
	var required list
	var properties pairs
	for _, f := range keysOf(t) {
		if f.required {
			required = append(required, f.key)
		}
		schema := s.of(f.typ)
		if about := s.source.about(f); about != "" {
			if schema[0].key == "$ref" {
				schema = pairs{{"allOf", list{schema}}, {"description", about}}
			} else {
				schema = append(pairs{}, schema...)
				schema = with(schema, "description", about)
			}
		}
		properties = append(properties, pair{f.key, schema})
	}
	return pairs{
		{"type", "object"}, {"description", s.source.sentence(t.Name())}, {"required", required}, {"properties", properties},
	}
}

// with gives p with the value under the key, in the place of one that is there.
func with(p pairs, key string, value any) pairs {
	for i := range p {
		if p[i].key == key {
			p[i].value = value
			return p
		}
	}
	return append(p, pair{key, value})
}

// keyOf is one key of a message.
type keyOf struct {
	key      string
	name     string // of the field
	owner    string // the struct that declares it
	typ      reflect.Type
	required bool // in a request it must be there, in anything else it always is
}

// keysOf lists the keys of a struct in the order in which they are sent.
func keysOf(t reflect.Type) []keyOf {
	var keys []keyOf
	taken := requests()[t]
	for _, f := range reflect.VisibleFields(t) {
		key, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous || key == "" || key == "-" {
			continue
		}
		owner := t
		for _, i := range f.Index[:len(f.Index)-1] {
			owner = owner.Field(i).Type
		}
		keys = append(keys, keyOf{
			key: key, name: f.Name, owner: owner.Name(), typ: f.Type,
			required: f.Tag.Get("wire") == "required" || !taken && options != "omitempty",
		})
	}
	return keys
}

// requests are the types that clients send: what is not marked in them may be left out.
func requests() map[reflect.Type]bool {
	all := map[reflect.Type]bool{reflect.TypeFor[wire.Answer](): true}
	for _, e := range wire.Endpoints() {
		all[e.Req] = true
	}
	return all
}

// about is the comment of a field as a sentence.
func (s *source) about(f keyOf) string {
	text := s.fields[f.owner][f.name]
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:] + "."
}
