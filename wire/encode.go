package wire

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/vmihailenco/msgpack/v5"
)

// Encode gives v, a message, as MessagePack: one map with string keys in the order of the fields, integers in
// their smallest form, states by name. A nil list is sent as an empty one, so that no reader has to know the
// difference. v is only read. An error means that v holds something that cannot travel; it is the daemon's fault.
func Encode(v any) ([]byte, error) {
	e := encoders.Get().(*encoder)
	defer e.release()
	if err := e.any(v); err != nil {
		return nil, Errorf(CodeInternal, "encode %T: %v", v, err)
	}
	return bytes.Clone(e.buffer.Bytes()), nil
}

var encoders = sync.Pool{New: func() any {
	e := &encoder{}
	e.Encoder = msgpack.NewEncoder(&e.buffer)
	return e
}}

// encoder writes values along their plans.
type encoder struct {
	*msgpack.Encoder
	buffer bytes.Buffer
}

// release gives the encoder back, but not a buffer that a blob has made large.
func (e *encoder) release() {
	if e.buffer.Cap() <= MaxRequest {
		e.buffer.Reset()
		encoders.Put(e)
	}
}

// any writes a value of any type that can travel.
func (e *encoder) any(v any) error {
	if v == nil {
		return e.EncodeNil()
	}
	value := reflect.ValueOf(v)
	return e.value(planOf(value.Type()), value)
}

// value writes v, whose type p is made of.
func (e *encoder) value(p *plan, v reflect.Value) error {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return e.EncodeNil()
		}
		v = v.Elem()
	}
	switch p.take {
	case takesRaw:
		return e.raw(v.Bytes())
	case takesState:
		return e.EncodeString(State(v.Int()).String())
	case takesBool:
		return e.EncodeBool(v.Bool())
	case takesInt:
		if v.CanInt() {
			return e.EncodeInt(v.Int())
		}
		return e.EncodeUint(v.Uint())
	case takesFloat:
		return e.EncodeFloat64(v.Float())
	case takesText:
		return e.EncodeString(strings.ToValidUTF8(v.String(), "\uFFFD"))
	case takesBytes:
		return e.bytes(v.Bytes())
	case takesList:
		return e.list(p, v)
	case takesMap:
		return e.dictionary(p, v)
	case takesStruct:
		return e.structure(p, v)
	case takesAny:
		return e.any(v.Interface())
	default:
		return fmt.Errorf("a %v cannot be in a message", v.Type())
	}
}

// raw writes a value that is encoded already.
func (e *encoder) raw(value []byte) error {
	if len(value) == 0 {
		return e.EncodeNil()
	}
	_, err := e.buffer.Write(value)
	return err
}

// bytes writes binary, empty where there is none: the library would write nil.
func (e *encoder) bytes(data []byte) error {
	if err := e.EncodeBytesLen(len(data)); err != nil {
		return err
	}
	_, err := e.buffer.Write(data)
	return err
}

func (e *encoder) list(p *plan, v reflect.Value) error {
	if err := e.EncodeArrayLen(v.Len()); err != nil {
		return err
	}
	for i := range v.Len() {
		if err := e.value(p.element, v.Index(i)); err != nil {
			return err
		}
	}
	return nil
}

// dictionary writes a map of Go's, sorted by key, so that the same map is always the same bytes.
func (e *encoder) dictionary(p *plan, v reflect.Value) error {
	if err := e.EncodeMapLen(v.Len()); err != nil {
		return err
	}
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	for _, key := range keys {
		if err := e.EncodeString(key.String()); err != nil {
			return err
		}
		if err := e.value(p.element, v.MapIndex(key)); err != nil {
			return err
		}
	}
	return nil
}

func (e *encoder) structure(p *plan, v reflect.Value) error {
	var left uint64 // out
	count := len(p.fields)
	for i := range p.fields {
		if f := &p.fields[i]; f.omit && empty(v.FieldByIndex(f.index)) {
			left |= f.bit
			count--
		}
	}
	if err := e.EncodeMapLen(count); err != nil {
		return err
	}
	for i := range p.fields {
		f := &p.fields[i]
		if left&f.bit != 0 {
			continue
		}
		e.buffer.Write(f.head)
		if err := e.value(f.plan, v.FieldByIndex(f.index)); err != nil {
			return err
		}
	}
	return nil
}

// empty reports whether an optional field is left out.
func empty(v reflect.Value) bool {
	if k := v.Kind(); k == reflect.Slice || k == reflect.Map {
		return v.Len() == 0
	}
	return v.IsZero()
}
