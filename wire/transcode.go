package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"math"
	"reflect"
	"strconv"
	"unicode/utf8"

	"github.com/vmihailenco/msgpack/v5"
)

// DecodeJSON reads a message that a person wrote. It is turned into MessagePack first, so that the checks and the
// messages are those of [Decode]. Keys are taken exactly as they are, integers keep all their digits.
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

// anyPlan is that of a value which nothing is known of.
var anyPlan = planOf(reflect.TypeFor[any]())

// transcode turns JSON into MessagePack. The plan tells where a text is meant as binary.
func transcode(text []byte, p *plan) ([]byte, error) {
	if !utf8.Valid(text) {
		return nil, Malformed("the JSON is not UTF-8")
	}
	var out bytes.Buffer
	in := json.NewDecoder(bytes.NewReader(text))
	in.UseNumber()
	t := transcoder{in: in, out: msgpack.NewEncoder(&out), path: &path{}}
	if err := t.value(p, MaxDepth); err != nil {
		return nil, err
	}
	if _, err := in.Token(); err != io.EOF {
		return nil, Malformed("something follows the JSON value at byte %d", in.InputOffset())
	}
	return out.Bytes(), nil
}

// transcoder copies one value after the other.
type transcoder struct {
	in   *json.Decoder
	out  *msgpack.Encoder
	path *path
}

func (t *transcoder) value(p *plan, depth int) error {
	token, err := t.token()
	if err != nil {
		return err
	}
	switch token := token.(type) {
	case json.Delim:
		if depth <= 0 {
			return Malformed("message is nested deeper than %d", MaxDepth)
		}
		if token == '[' {
			return t.list(p, depth)
		}
		return t.object(p, depth)
	case json.Number:
		return t.number(token.String())
	case string:
		return t.text(p, token)
	case bool:
		return t.out.EncodeBool(token)
	default:
		return t.out.EncodeNil()
	}
}

func (t *transcoder) token() (json.Token, error) {
	token, err := t.in.Token()
	if err == io.EOF {
		return nil, Malformed("the JSON ends at byte %d within a value", t.in.InputOffset())
	}
	if err != nil {
		return nil, Malformed("not JSON at byte %d: %v", t.in.InputOffset(), err)
	}
	return token, nil
}

func (t *transcoder) list(p *plan, depth int) error {
	return t.parts(t.out.EncodeArrayLen, func(inner *transcoder, i int) error {
		t.path.at(i)
		defer t.path.up()
		return inner.value(p.part(""), depth-1)
	})
}

func (t *transcoder) object(p *plan, depth int) error {
	return t.parts(t.out.EncodeMapLen, func(inner *transcoder, _ int) error {
		token, err := inner.token()
		if err != nil {
			return err
		}
		key, _ := token.(string) // the JSON decoder lets nothing else pass
		if err := inner.out.EncodeString(key); err != nil {
			return err
		}
		t.path.into(key)
		defer t.path.up()
		return inner.value(p.part(key), depth-1)
	})
}

// part gives the plan of what stands in a list or map, or under the key of a struct.
func (p *plan) part(key string) *plan {
	if p.element != nil {
		return p.element
	}
	if f := p.byKey[key]; f != nil {
		return f.plan
	}
	return anyPlan
}

// parts copies up to the closing bracket, collected first because MessagePack wants their number before them.
func (t *transcoder) parts(head func(count int) error, one func(inner *transcoder, i int) error) error {
	var parts bytes.Buffer
	inner := &transcoder{in: t.in, out: msgpack.NewEncoder(&parts), path: t.path}
	count := 0
	for ; t.in.More(); count++ {
		if err := one(inner, count); err != nil {
			return err
		}
	}
	if _, err := t.token(); err != nil {
		return err
	}
	if err := head(count); err != nil {
		return err
	}
	_, err := t.out.Writer().Write(parts.Bytes())
	return err
}

// number keeps integers exact; 1e3 is one too.
func (t *transcoder) number(digits string) error {
	if i, err := strconv.ParseInt(digits, 10, 64); err == nil {
		return t.out.EncodeInt(i)
	}
	if u, err := strconv.ParseUint(digits, 10, 64); err == nil {
		return t.out.EncodeUint(u)
	}
	f, err := strconv.ParseFloat(digits, 64)
	if err != nil {
		return Malformed("%s is %s; a number that 64 bits can hold would be right", t.path.String(), plain(digits))
	}
	if f == math.Trunc(f) && math.Abs(f) <= exactFloat {
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
		return Malformed("%s is %s; base64 would be right, as binary is in JSON", t.path.String(), quote(text))
	}
	return t.out.EncodeBytes(data)
}
