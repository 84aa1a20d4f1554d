package wire

import (
	"bytes"
	"reflect"
	"sync"

	"github.com/vmihailenco/msgpack/v5"
)

// Headers of requests and answers.
const (
	HeaderErrorCode   = "Nats-Service-Error-Code" // of the NATS service API
	HeaderError       = "Nats-Service-Error"
	HeaderContentType = "Content-Type"
	ContentJSON       = "application/json"
)

var encoders = sync.Pool{New: func() any {
	e := &encoder{}
	e.Encoder = msgpack.NewEncoder(&e.buffer)
	e.SetCustomStructTag("json")
	e.UseCompactInts(true)
	e.SetSortMapKeys(true)
	return e
}}

type encoder struct {
	*msgpack.Encoder
	buffer bytes.Buffer
}

// Encode gives v, a message, as MessagePack: one map with string keys, integers in their smallest form. A nil list
// is sent as an empty one, so that no reader has to know the difference.
func Encode(v any) ([]byte, error) {
	e := encoders.Get().(*encoder)
	defer encoders.Put(e)
	e.buffer.Reset()
	if err := e.Encode(withLists(v)); err != nil {
		return nil, Errorf(CodeInternal, "encode %T: %v", v, err)
	}
	return bytes.Clone(e.buffer.Bytes()), nil
}

// Decode reads one message into v, a pointer to a struct. No bytes mean an empty message. Before anything is
// allocated the structure is checked: kinds, depth, counts and lengths against the bytes that are there. Numbers are
// held against the types that take them, required keys must be there, and what v's Check demands must hold. Unknown
// keys are passed over. Any error is an [*Error] with [CodeMalformed] that names the key and what would be right; v
// may then be written in part.
func Decode(data []byte, v any) error {
	if len(data) == 0 {
		data = emptyMap
	}
	r := reader{data: data}
	if err := planOf(reflect.TypeOf(v)).check(&r, "", maxDepth); err != nil {
		return err
	}
	if err := r.end(); err != nil {
		return err
	}
	if err := unmarshal(data, v); err != nil {
		return err
	}
	return checkValue(v)
}

var emptyMap = []byte{0x80}

// unmarshal hands checked bytes to the library.
func unmarshal(data []byte, v any) error {
	d := msgpack.GetDecoder()
	defer msgpack.PutDecoder(d)
	d.Reset(bytes.NewReader(data))
	d.SetCustomStructTag("json")
	if err := d.Decode(v); err != nil {
		if e := AsError(err); e.Code != CodeInternal {
			return e
		}
		return Malformed("message cannot be read: %v", err)
	}
	return nil
}

// checkValue asks the message itself.
func checkValue(v any) error {
	if c, ok := v.(interface{ Check() error }); ok {
		return c.Check()
	}
	return nil
}

// withLists gives v with empty lists for nil ones. It copies only what it has to change.
func withLists(v any) any {
	value := reflect.ValueOf(v)
	if value.Kind() == reflect.Pointer && !value.IsNil() {
		fillLists(value.Elem())
		return v
	}
	if value.Kind() != reflect.Struct || !hasLists(value.Type()) {
		return v
	}
	filled := reflect.New(value.Type())
	filled.Elem().Set(value)
	fillLists(filled.Elem())
	return filled.Interface()
}

// fillLists replaces nil lists within an addressable value.
func fillLists(v reflect.Value) {
	if !hasLists(v.Type()) {
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			fillLists(v.Elem())
		}
	case reflect.Struct:
		for _, field := range v.Fields() {
			if field.CanSet() {
				fillLists(field)
			}
		}
	case reflect.Slice:
		if v.IsNil() {
			v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		}
		for i := range v.Len() {
			fillLists(v.Index(i))
		}
	default: // holds none
	}
}

var listed sync.Map // reflect.Type -> bool

// hasLists reports whether values of the type can hold a nil list.
func hasLists(t reflect.Type) bool {
	if known, ok := listed.Load(t); ok {
		return known.(bool)
	}
	has := false
	switch {
	case t == rawType:
	case t.Kind() == reflect.Slice:
		has = true
	case t.Kind() == reflect.Pointer:
		has = hasLists(t.Elem())
	case t.Kind() == reflect.Struct:
		for field := range t.Fields() {
			has = has || hasLists(field.Type)
		}
	}
	listed.Store(t, has)
	return has
}
