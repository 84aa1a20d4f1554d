package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math"
	"unicode/utf8"
)

// EncodeJSON gives v, a message, as JSON for people: what [Encode] gives, binary as base64, states by name.
func EncodeJSON(v any) ([]byte, error) {
	data, err := Encode(v)
	if err != nil {
		return nil, err
	}
	return jsonOf(data)
}

// jsonOf turns one MessagePack value into JSON.
func jsonOf(data []byte) ([]byte, error) {
	in := reader{data: data}
	var out bytes.Buffer
	if err := writeJSON(&out, &in, MaxDepth); err != nil {
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
	case kindText:
		return writeText(out, t.bytes)
	case kindBytes:
		out.WriteByte('"')
		out.Write(base64.StdEncoding.AppendEncode(out.AvailableBuffer(), t.bytes))
		out.WriteByte('"')
	case kindNil:
		out.WriteString("null")
	case kindFloat:
		f := math.Float64frombits(t.bits)
		if math.IsNaN(f) || math.IsInf(f, 0) {
			out.WriteString("null")
			return nil
		}
		text, err := json.Marshal(f)
		out.Write(text)
		return err
	default:
		out.WriteString(t.String())
	}
	return nil
}

func writeParts(out *bytes.Buffer, in *reader, t token, depth int) error {
	if depth <= 0 && t.count > 0 {
		return Malformed("message is nested deeper than %d", MaxDepth)
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
			if err := writeText(out, key); err != nil {
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

// writeText writes text as a JSON string; what needs no escape, as almost all does, without a detour.
func writeText(out *bytes.Buffer, text []byte) error {
	for _, c := range text {
		if c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			in := json.NewEncoder(out)
			in.SetEscapeHTML(false)
			err := in.Encode(string(text))
			out.Truncate(out.Len() - 1) // the line break that the encoder adds
			return err
		}
	}
	out.WriteByte('"')
	out.Write(text)
	out.WriteByte('"')
	return nil
}
