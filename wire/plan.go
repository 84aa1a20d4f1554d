package wire

import (
	"bytes"
	"math"
	"reflect"
	"strings"
	"sync"

	"github.com/vmihailenco/msgpack/v5"
)

// plan is how a Go type stands on the wire; it is made once a type, and read along by [Encode] and [Decode].
type plan struct {
	take     taker
	min, max int64   // of an integer; with wide, max is not the end
	wide     bool    // integers above MaxInt64 fit too
	size     int     // bytes of a value in memory
	element  *plan   // of a list or map
	fields   []field // of a struct, in the order of their declaration
	byKey    map[string]*field
}

// field is one key of a struct.
type field struct {
	key      string
	head     []byte // the key as it is written
	index    []int  // where it is in the struct
	bit      uint64 // in the set of keys seen
	omit     bool   // left out when it is empty
	required bool
	plan     *plan
}

// taker says what kind of value a type takes.
type taker uint8

const (
	takesNothing taker = iota // it cannot travel
	takesAny
	takesRaw
	takesBool
	takesInt
	takesFloat
	takesText
	takesState
	takesBytes
	takesList
	takesMap
	takesStruct
)

// String says what would be right.
func (t taker) String() string {
	return [...]string{
		"nothing", "any value", "any value", "true or false", "an integer", "a number", "a text", "the name of a state", "binary",
		"a list", "a map", "a map",
	}[t]
}

var plans sync.Map // reflect.Type -> *plan

// planOf gives the plan of a type; a pointer has that of what it points to. Message types do not contain themselves.
func planOf(t reflect.Type) *plan {
	if known, ok := plans.Load(t); ok {
		return known.(*plan)
	}
	made, _ := plans.LoadOrStore(t, makePlan(t))
	return made.(*plan)
}

var (
	rawType   = reflect.TypeFor[Raw]()
	stateType = reflect.TypeFor[State]()
)

func makePlan(t reflect.Type) *plan {
	size := int(t.Size())
	switch t {
	case rawType:
		return &plan{take: takesRaw, size: size}
	case stateType:
		return &plan{take: takesState, size: size}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return planOf(t.Elem())
	case reflect.Interface:
		return &plan{take: takesAny, size: size}
	case reflect.Bool:
		return &plan{take: takesBool, size: size}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		least := int64(math.MinInt64) >> (64 - t.Bits())
		return &plan{take: takesInt, min: least, max: -(least + 1), size: size}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		most := uint64(math.MaxUint64) >> (64 - t.Bits())
		return &plan{take: takesInt, max: int64(min(most, math.MaxInt64)), wide: t.Bits() == 64, size: size}
	case reflect.Float32, reflect.Float64:
		return &plan{take: takesFloat, size: size}
	case reflect.String:
		return &plan{take: takesText, size: size}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return &plan{take: takesBytes, size: size}
		}
		return &plan{take: takesList, element: planOf(t.Elem()), size: size}
	case reflect.Map:
		if t.Key().Kind() == reflect.String {
			return &plan{take: takesMap, element: planOf(t.Elem()), size: size}
		}
	case reflect.Struct:
		return planStruct(t)
	default:
	}
	return &plan{}
}

// planStruct reads the tags of a struct; the fields of embedded structs count as its own.
func planStruct(t reflect.Type) *plan {
	p := &plan{take: takesStruct, size: int(t.Size()), byKey: map[string]*field{}}
	for _, f := range reflect.VisibleFields(t) {
		key, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous || !f.IsExported() || key == "" || key == "-" {
			continue
		}
		p.fields = append(p.fields, field{
			key: key, head: head(key), index: f.Index, bit: 1 << len(p.fields), plan: planOf(f.Type),
			omit: options == "omitempty", required: f.Tag.Get("wire") == "required",
		})
	}
	if len(p.fields) > 64 {
		return &plan{} // bit could not tell them apart
	}
	for i := range p.fields {
		p.byKey[p.fields[i].key] = &p.fields[i]
	}
	return p
}

// head gives a key as MessagePack.
func head(key string) []byte {
	var b bytes.Buffer
	_ = msgpack.NewEncoder(&b).EncodeString(key) // a buffer takes everything
	return b.Bytes()
}
