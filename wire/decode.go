package wire

import (
	"bytes"
	"math"
	"reflect"
)

// Decode reads one message into v, a pointer to a struct or a map. No bytes mean an empty message.
//
// Before anything is allocated the structure is checked: kinds, depth, counts and lengths against the bytes that
// are there. Then each value is held against the field that takes it, numbers against the range of its type,
// required keys must be there, and what v's own Check() error demands must hold. A number without a fraction fits
// an integer, nil is an absent key, unknown keys are passed over. Any fault of the message is an [*Error] with
// [CodeMalformed] that names the key, the value and what would be right; v may then be written in part.
func Decode(data []byte, v any) error {
	if len(data) == 0 {
		data = emptyMap
	}
	if err := validate(data); err != nil {
		return err
	}
	if head, _ := (&reader{data: data}).next(); head.kind != kindMap {
		return Malformed("the message is %s; a map with string keys would be right", head)
	}
	return decode(data, v)
}

var emptyMap = []byte{0x80}

// decode reads one value, whose structure was checked, into v, a pointer.
func decode(data []byte, v any) error {
	target := reflect.ValueOf(v)
	if target.Kind() != reflect.Pointer || target.IsNil() {
		return Errorf(CodeInternal, "decode into a %T; a pointer would be right", v)
	}
	r := reader{data: data, checked: true, room: maxMemory}
	if err := planOf(target.Type()).read(&r, target.Elem()); err != nil {
		return err
	}
	if c, ok := v.(interface{ Check() error }); ok {
		return c.Check()
	}
	return nil
}

// read puts the next value into v, whose type p is made of.
func (p *plan) read(r *reader, v reflect.Value) error {
	for v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		v = v.Elem()
	}
	if p.take == takesRaw {
		return readRaw(r, v)
	}
	t, err := r.next()
	if err != nil {
		return err
	}
	switch p.take {
	case takesInt:
		return p.readInt(r, t, v)
	case takesFloat:
		return p.readFloat(r, t, v)
	case takesState:
		return p.readState(r, t, v)
	case takesList:
		return p.readList(r, t, v)
	case takesMap:
		return p.readMap(r, t, v)
	case takesStruct:
		return p.readStruct(r, t, v)
	case takesAny:
		return readAny(r, t, v)
	case takesNothing:
		return Errorf(CodeInternal, "decode into a %v, which cannot be in a message", v.Type())
	default:
		return p.readSimple(r, t, v)
	}
}

// readSimple takes what is as it stands.
func (p *plan) readSimple(r *reader, t token, v reflect.Value) error {
	switch {
	case p.take == takesBool && t.kind == kindBool:
		v.SetBool(t.bits == 1)
	case p.take == takesText && t.kind == kindText:
		v.SetString(string(t.bytes))
	case p.take == takesBytes && t.kind == kindBytes:
		v.SetBytes(bytes.Clone(t.bytes))
	default:
		return p.mismatch(r, t)
	}
	return nil
}

// readInt holds a number against the range of its type, so that none is cut to another. Some languages have no
// integers: a number that happens to have no fraction is one.
func (p *plan) readInt(r *reader, t token, v reflect.Value) error {
	if t.kind == kindFloat {
		f := math.Float64frombits(t.bits)
		if f != math.Trunc(f) || math.Abs(f) > exactFloat {
			return p.mismatch(r, t)
		}
		t = token{kind: kindInt, bits: uint64(int64(f))}
	}
	switch {
	case t.kind == kindUint && p.wide:
		v.SetUint(t.bits)
	case t.kind == kindInt && int64(t.bits) >= p.min && int64(t.bits) <= p.max:
		if v.CanInt() {
			v.SetInt(int64(t.bits))
		} else {
			v.SetUint(t.bits)
		}
	case t.kind == kindInt || t.kind == kindUint:
		return Malformed("%s is %s; %d to %d would be right", r.path.String(), t, p.min, p.most())
	default:
		return p.mismatch(r, t)
	}
	return nil
}

// exactFloat is the largest magnitude to which every integer has a float64 of its own.
const exactFloat = 1<<53 - 1

// most is the largest integer of the type.
func (p *plan) most() uint64 {
	if p.wide {
		return math.MaxUint64
	}
	return uint64(p.max)
}

func (p *plan) readFloat(r *reader, t token, v reflect.Value) error {
	switch t.kind {
	case kindFloat:
		v.SetFloat(math.Float64frombits(t.bits))
	case kindInt:
		v.SetFloat(float64(int64(t.bits)))
	case kindUint:
		v.SetFloat(float64(t.bits))
	default:
		return p.mismatch(r, t)
	}
	return nil
}

func (p *plan) readState(r *reader, t token, v reflect.Value) error {
	if t.kind != kindText {
		return p.mismatch(r, t)
	}
	s, known := stateByName[string(t.bytes)]
	if !known {
		_, err := ParseState(string(t.bytes))
		return Malformed("%s: %s", r.path.String(), AsError(err).Message)
	}
	v.SetInt(int64(s))
	return nil
}

func (p *plan) readList(r *reader, t token, v reflect.Value) error {
	if t.kind != kindList {
		return p.mismatch(r, t)
	}
	if err := r.take(t.count, p.element.size); err != nil {
		return err
	}
	v.Set(reflect.MakeSlice(v.Type(), t.count, t.count))
	for i := range t.count {
		r.path.at(i)
		if err := p.element.read(r, v.Index(i)); err != nil {
			return err
		}
		r.path.up()
	}
	return nil
}

func (p *plan) readMap(r *reader, t token, v reflect.Value) error {
	if t.kind != kindMap {
		return p.mismatch(r, t)
	}
	if err := r.take(t.count, p.element.size+mapEntry); err != nil {
		return err
	}
	v.Set(reflect.MakeMapWithSize(v.Type(), t.count))
	for range t.count {
		text, err := r.key()
		if err != nil {
			return err
		}
		key := reflect.ValueOf(string(text)).Convert(v.Type().Key())
		r.path.into(key.String())
		if v.MapIndex(key).IsValid() {
			return Malformed("key %s stands twice", r.path.String())
		}
		value := reflect.New(v.Type().Elem()).Elem()
		if err := p.element.read(r, value); err != nil {
			return err
		}
		v.SetMapIndex(key, value)
		r.path.up()
	}
	return nil
}

// mapEntry is about what a map of Go's needs for a pair besides the value.
const mapEntry = 32

// readStruct reads the pairs of a map. Of keys that the type knows each may come once, and the required ones must.
func (p *plan) readStruct(r *reader, t token, v reflect.Value) error {
	if t.kind != kindMap {
		return p.mismatch(r, t)
	}
	var seen, given uint64
	for range t.count {
		key, err := r.key()
		if err != nil {
			return err
		}
		f := p.byKey[string(key)]
		if f == nil {
			if err := r.skip(MaxDepth); err != nil {
				return err
			}
			continue
		}
		r.path.into(f.key)
		if seen&f.bit != 0 {
			return Malformed("key %s stands twice", r.path.String())
		}
		seen |= f.bit
		if r.isNil() {
			r.at++
		} else {
			given |= f.bit
			if err := f.plan.read(r, v.FieldByIndex(f.index)); err != nil {
				return err
			}
		}
		r.path.up()
	}
	for i := range p.fields {
		if f := &p.fields[i]; f.required && given&f.bit == 0 {
			r.path.into(f.key)
			return Malformed("required key %s is missing", r.path.String()).With("key", f.key)
		}
	}
	return nil
}

// readRaw takes the next value as it is.
func readRaw(r *reader, v reflect.Value) error {
	from := r.at
	if err := r.skip(MaxDepth); err != nil {
		return err
	}
	v.SetBytes(bytes.Clone(r.data[from:r.at]))
	return nil
}

// readAny makes of t what Go has for it: map[string]any, []any, string, []byte, bool, float64, and int64, or
// uint64 for what is above its range.
func readAny(r *reader, t token, v reflect.Value) error {
	switch t.kind {
	case kindNil:
		v.SetZero()
	case kindList:
		var list []any
		into := reflect.ValueOf(&list).Elem()
		err := planOf(into.Type()).readList(r, t, into)
		v.Set(into)
		return err
	case kindMap:
		var dictionary map[string]any
		into := reflect.ValueOf(&dictionary).Elem()
		err := planOf(into.Type()).readMap(r, t, into)
		v.Set(into)
		return err
	default:
		v.Set(reflect.ValueOf(t.value()))
	}
	return nil
}

// mismatch says what came and what would be right.
func (p *plan) mismatch(r *reader, t token) error {
	return Malformed("%s is %s; %s would be right", r.path.String(), t, p.take)
}
