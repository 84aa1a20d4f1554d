package wire

import (
	"math"
	"reflect"
	"strings"
	"sync"

	"github.com/vmihailenco/msgpack/v5"
)

// plan is what a Go type takes from the wire; it is made once a type.
type plan struct {
	take     taker
	min, max int64  // of an integer; max of uint64 is MaxInt64, with wide set
	wide     bool   // integers above MaxInt64 fit too
	element  *plan  // of a list or map
	fields   fields // of a struct
}

// taker says what kind of value a type takes.
type taker uint8

const (
	takesAny taker = iota
	takesBool
	takesInt
	takesFloat
	takesText
	takesBytes
	takesList
	takesMap
	takesStruct
)

func (t taker) String() string {
	return [...]string{"any value", "true or false", "an integer", "a number", "a text", "binary", "a list", "a map", "a map"}[t]
}

// fields are the keys that a struct knows.
type fields struct {
	byKey    map[string]*fieldPlan
	required []*fieldPlan
}

type fieldPlan struct {
	key      string
	bit      uint64 // in the set of keys seen
	required bool
	plan     *plan
}

var plans sync.Map // reflect.Type -> *plan

// planOf gives the plan of a type. Message types do not contain themselves.
func planOf(t reflect.Type) *plan {
	if known, ok := plans.Load(t); ok {
		return known.(*plan)
	}
	made, _ := plans.LoadOrStore(t, makePlan(t))
	return made.(*plan)
}

var (
	rawType     = reflect.TypeFor[Raw]()
	decoderType = reflect.TypeFor[msgpack.CustomDecoder]()
)

func makePlan(t reflect.Type) *plan {
	switch {
	case t == rawType:
		return &plan{take: takesAny}
	case t.Kind() != reflect.Pointer && reflect.PointerTo(t).Implements(decoderType):
		return &plan{take: takesText} // a State, by its name
	}
	switch t.Kind() {
	case reflect.Pointer:
		return planOf(t.Elem())
	case reflect.Bool:
		return &plan{take: takesBool}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		bits := t.Bits()
		return &plan{take: takesInt, min: math.MinInt64 >> (64 - bits), max: math.MaxInt64 >> (64 - bits)}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if t.Bits() == 64 {
			return &plan{take: takesInt, max: math.MaxInt64, wide: true}
		}
		return &plan{take: takesInt, max: 1<<t.Bits() - 1}
	case reflect.Float32, reflect.Float64:
		return &plan{take: takesFloat}
	case reflect.String:
		return &plan{take: takesText}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 && t.Elem().PkgPath() == "" {
			return &plan{take: takesBytes}
		}
		return &plan{take: takesList, element: planOf(t.Elem())}
	case reflect.Map:
		return &plan{take: takesMap, element: planOf(t.Elem())}
	case reflect.Struct:
		return &plan{take: takesStruct, fields: fieldsOf(t)}
	default:
		return &plan{take: takesAny} // an interface
	}
}

// fieldsOf reads the tags of a struct; those of embedded structs count as its own.
func fieldsOf(t reflect.Type) fields {
	f := fields{byKey: map[string]*fieldPlan{}}
	for _, field := range reflect.VisibleFields(t) {
		key, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.Anonymous || !field.IsExported() || key == "" || key == "-" {
			continue
		}
		p := &fieldPlan{
			key: key, bit: 1 << len(f.byKey), required: field.Tag.Get("wire") == "required", plan: planOf(field.Type),
		}
		f.byKey[key] = p
		if p.required {
			f.required = append(f.required, p)
		}
	}
	return f
}

// check walks a value along its plan. path names it in errors; the empty one is the message itself.
func (p *plan) check(r *reader, path string, depth int) error {
	t, err := r.next()
	if err != nil {
		return err
	}
	if depth <= 0 && t.count > 0 {
		return Malformed("message is nested deeper than %d", maxDepth)
	}
	if t.kind == kindNil && path != "" {
		return nil // as if it were absent; the caller minds what is required
	}
	switch p.take {
	case takesAny:
		return r.skipRest(t, depth)
	case takesInt:
		return p.checkInt(t, path)
	case takesList:
		if t.kind != kindList {
			return p.mismatch(t, path)
		}
		for range t.count {
			if err := p.element.check(r, path+"[]", depth-1); err != nil {
				return err
			}
		}
		return nil
	case takesMap, takesStruct:
		if t.kind != kindMap {
			return p.mismatch(t, path)
		}
		return p.checkKeys(r, t.count, path, depth)
	default:
		if !p.takes(t.kind) {
			return p.mismatch(t, path)
		}
		return nil
	}
}

// takes says which simple kinds fit.
func (p *plan) takes(k kind) bool {
	switch p.take {
	case takesBool:
		return k == kindBool
	case takesFloat:
		return k == kindFloat || k == kindInt || k == kindUint
	case takesText:
		return k == kindText
	default:
		return k == kindBytes
	}
}

// checkInt holds a number against the range of its type.
func (p *plan) checkInt(t token, path string) error {
	switch t.kind {
	case kindInt:
		if n := int64(t.bits); n < p.min || n > p.max {
			return Malformed("%s is %d; %d to %d would be right", path, n, p.min, p.max)
		}
	case kindUint:
		if !p.wide {
			return Malformed("%s is %d; %d to %d would be right", path, t.bits, p.min, p.max)
		}
	default:
		return p.mismatch(t, path)
	}
	return nil
}

// checkKeys reads the pairs of a map. Of keys that the type knows each may come once, and the required ones must.
func (p *plan) checkKeys(r *reader, count int, path string, depth int) error {
	var seen uint64
	for range count {
		key, err := r.key()
		if err != nil {
			return err
		}
		field, element, name := p.fields.byKey[string(key)], p.element, "[]"
		if field != nil {
			name = field.key
			if seen&field.bit != 0 {
				return Malformed("key %s stands twice", quote(string(key)))
			}
			if !isNil(r) {
				seen |= field.bit
			}
			element = field.plan
		}
		if element == nil {
			err = r.skip(depth - 1)
		} else {
			err = element.check(r, join(path, name), depth-1)
		}
		if err != nil {
			return err
		}
	}
	for _, f := range p.fields.required {
		if seen&f.bit == 0 {
			return Malformed("required key %s is missing", join(path, f.key)).With("key", f.key)
		}
	}
	return nil
}

// isNil reports whether the next value is nil.
func isNil(r *reader) bool { return r.at < len(r.data) && r.data[r.at] == 0xc0 }

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// mismatch says what came and what would be right.
func (p *plan) mismatch(t token, path string) error {
	if path == "" {
		return Malformed("the message is %s; a map with string keys would be right", t.describe())
	}
	return Malformed("%s is %s; %s would be right", path, t.describe(), p.take)
}

// describe shows a token in a message.
func (t token) describe() string {
	switch t.kind {
	case kindText:
		return quote(string(t.bytes))
	case kindBool:
		return map[uint64]string{0: "false", 1: "true"}[t.bits]
	default:
		return t.kind.String()
	}
}
