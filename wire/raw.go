package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math"

	"github.com/vmihailenco/msgpack/v5"
)

// Raw is one MessagePack value that is handed on as it is; the empty one is absent. In the JSON form of a message
// it stands as JSON, binary parts as base64.
type Raw []byte

// RawOf encodes a value.
func RawOf(v any) (Raw, error) {
	data, err := Encode(v)
	return Raw(data), err
}

// Into decodes the value into v, a pointer. It is checked like a message.
func (r Raw) Into(v any) error {
	if len(r) == 0 {
		return nil
	}
	if err := validate(r); err != nil {
		return err
	}
	return unmarshal(r, v)
}

// Valid checks that the bytes are one value of the kinds that the protocol knows, or none.
func (r Raw) Valid() error {
	if len(r) == 0 {
		return nil
	}
	return validate(r)
}

// EncodeMsgpack writes the value as it is.
func (r Raw) EncodeMsgpack(enc *msgpack.Encoder) error {
	if len(r) == 0 {
		return enc.EncodeNil()
	}
	_, err := enc.Writer().Write(r)
	return err
}

// DecodeMsgpack takes the next value as it is.
func (r *Raw) DecodeMsgpack(dec *msgpack.Decoder) error {
	value, err := dec.DecodeRaw()
	if err != nil {
		return err
	}
	*r = bytes.Clone(value)
	return nil
}

// UnmarshalJSON takes any JSON value.
func (r *Raw) UnmarshalJSON(text []byte) (err error) {
	*r, err = RawFromJSON(text)
	return err
}

// MarshalJSON gives the value as JSON.
func (r Raw) MarshalJSON() ([]byte, error) {
	if len(r) == 0 {
		return []byte("null"), nil
	}
	in := reader{data: r}
	var out bytes.Buffer
	if err := writeJSON(&out, &in, maxDepth); err != nil {
		return nil, err
	}
	return out.Bytes(), in.end()
}

// writeJSON turns the next value into JSON. What JSON cannot say (infinities) is null.
func writeJSON(out *bytes.Buffer, in *reader, depth int) error {
	t, err := in.next()
	if err != nil {
		return err
	}
	switch t.kind {
	case kindList, kindMap:
		return writeParts(out, in, t, depth)
	case kindBool:
		return put(out, t.bits == 1)
	case kindInt:
		return put(out, int64(t.bits))
	case kindUint:
		return put(out, t.bits)
	case kindFloat:
		if f := math.Float64frombits(t.bits); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return put(out, f)
		}
	case kindText:
		return put(out, string(t.bytes))
	case kindBytes:
		return put(out, base64.StdEncoding.EncodeToString(t.bytes))
	case kindNil:
	}
	out.WriteString("null")
	return nil
}

func writeParts(out *bytes.Buffer, in *reader, t token, depth int) error {
	if depth <= 0 {
		return Malformed("value is nested deeper than %d", maxDepth)
	}
	open, closing := byte('['), byte(']')
	if t.kind == kindMap {
		open, closing = '{', '}'
	}
	out.WriteByte(open)
	for i := range t.count {
		if i > 0 {
			out.WriteByte(',')
		}
		if t.kind == kindMap {
			key, err := in.key()
			if err != nil {
				return err
			}
			if err := put(out, string(key)); err != nil {
				return err
			}
			out.WriteByte(':')
		}
		if err := writeJSON(out, in, depth-1); err != nil {
			return err
		}
	}
	out.WriteByte(closing)
	return nil
}

func put(out *bytes.Buffer, v any) error {
	text, err := json.Marshal(v)
	out.Write(text)
	return err
}
