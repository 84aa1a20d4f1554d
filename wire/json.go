package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"math"
	"reflect"
	"strconv"

	"github.com/vmihailenco/msgpack/v5"
)

// EncodeJSON gives v, a message, as JSON for people: binary as base64, states by name.
func EncodeJSON(v any) ([]byte, error) {
	text, err := json.Marshal(withLists(v))
	if err != nil {
		return nil, Errorf(CodeInternal, "encode %T: %v", v, err)
	}
	return text, nil
}

// DecodeJSON reads a message that a person wrote. It is turned into MessagePack first, so that the checks and the
// messages are those of [Decode].
func DecodeJSON(text []byte, v any) error {
	if len(bytes.TrimSpace(text)) == 0 {
		return Decode(nil, v)
	}
	data, err := transcode(text, planOf(reflect.TypeOf(v)))
	if err != nil {
		return err
	}
	return Decode(data, v)
}

// RawFromJSON gives any JSON value as a [Raw]. Texts stay texts: JSON has no binary.
func RawFromJSON(text []byte) (Raw, error) {
	data, err := transcode(text, &plan{})
	return Raw(data), err
}

// transcode turns JSON into MessagePack. The plan tells where a text is meant as binary.
func transcode(text []byte, p *plan) ([]byte, error) {
	var out bytes.Buffer
	in := json.NewDecoder(bytes.NewReader(text))
	in.UseNumber()
	t := transcoder{in: in, out: msgpack.NewEncoder(&out)}
	if err := t.value(p, maxDepth); err != nil {
		return nil, err
	}
	if _, err := in.Token(); err != io.EOF {
		return nil, Malformed("something follows the JSON value at byte %d", in.InputOffset())
	}
	return out.Bytes(), nil
}

type transcoder struct {
	in  *json.Decoder
	out *msgpack.Encoder
}

func (t *transcoder) value(p *plan, depth int) error {
	token, err := t.in.Token()
	if err != nil {
		return Malformed("not JSON at byte %d: %v", t.in.InputOffset(), err)
	}
	switch token := token.(type) {
	case json.Delim:
		if depth <= 0 {
			return Malformed("message is nested deeper than %d", maxDepth)
		}
		if token == '[' {
			return t.list(p, depth)
		}
		return t.object(p, depth)
	case json.Number:
		return t.number(token)
	case string:
		return t.text(p, token)
	case bool:
		return t.out.EncodeBool(token)
	default:
		return t.out.EncodeNil()
	}
}

// list collects the parts first, because MessagePack wants their number before them.
func (t *transcoder) list(p *plan, depth int) error {
	element := &plan{}
	if p.element != nil {
		element = p.element
	}
	parts, count, err := t.parts(func(inner *transcoder) error { return inner.value(element, depth-1) })
	if err != nil {
		return err
	}
	if err := t.out.EncodeArrayLen(count); err != nil {
		return err
	}
	return t.copy(parts)
}

func (t *transcoder) object(p *plan, depth int) error {
	parts, count, err := t.parts(func(inner *transcoder) error {
		key, err := inner.in.Token()
		if err != nil {
			return Malformed("not JSON at byte %d: %v", inner.in.InputOffset(), err)
		}
		name, _ := key.(string) // the decoder lets nothing else pass
		element := &plan{}
		if field := p.fields.byKey[name]; field != nil {
			element = field.plan
		} else if p.element != nil {
			element = p.element
		}
		if err := inner.out.EncodeString(name); err != nil {
			return err
		}
		return inner.value(element, depth-1)
	})
	if err != nil {
		return err
	}
	if err := t.out.EncodeMapLen(count); err != nil {
		return err
	}
	return t.copy(parts)
}

// parts reads up to the closing bracket.
func (t *transcoder) parts(one func(*transcoder) error) ([]byte, int, error) {
	var out bytes.Buffer
	inner := &transcoder{in: t.in, out: msgpack.NewEncoder(&out)}
	count := 0
	for t.in.More() {
		if err := one(inner); err != nil {
			return nil, 0, err
		}
		count++
	}
	if _, err := t.in.Token(); err != nil {
		return nil, 0, Malformed("not JSON at byte %d: %v", t.in.InputOffset(), err)
	}
	return out.Bytes(), count, nil
}

func (t *transcoder) copy(parts []byte) error {
	_, err := t.out.Writer().Write(parts)
	return err
}

// number keeps integers exact.
func (t *transcoder) number(n json.Number) error {
	if i, err := strconv.ParseInt(n.String(), 10, 64); err == nil {
		return t.out.EncodeInt(i)
	}
	if u, err := strconv.ParseUint(n.String(), 10, 64); err == nil {
		return t.out.EncodeUint(u)
	}
	f, err := n.Float64()
	if err != nil {
		return Malformed("%s is not a number that can be had", quote(n.String()))
	}
	if f == math.Trunc(f) && math.Abs(f) <= 1<<53 {
		return t.out.EncodeInt(int64(f))
	}
	return t.out.EncodeFloat64(f)
}

func (t *transcoder) text(p *plan, text string) error {
	if p.take != takesBytes {
		return t.out.EncodeString(text)
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return Malformed("%s is not base64; binary is written as base64 in JSON", quote(text))
	}
	return t.out.EncodeBytes(data)
}
