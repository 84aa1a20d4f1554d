package wire

import "strings"

// Format is the form in which a message travels, or in which the daemon speaks to a participant.
type Format string

// The formats; the empty one is MessagePack.
const (
	FormatMsgpack Format = "msgpack"
	FormatJSON    Format = "json"
)

// FormatOf gives the form of a message with that content type, whatever parameters it has ("; charset=utf-8").
func FormatOf(contentType string) Format {
	kind, _, _ := strings.Cut(contentType, ";")
	if strings.EqualFold(strings.TrimSpace(kind), ContentJSON) {
		return FormatJSON
	}
	return FormatMsgpack
}

// ContentType is what the header of a message in this form says; "" for MessagePack, which goes without saying.
func (f Format) ContentType() string {
	if f == FormatJSON {
		return ContentJSON
	}
	return ""
}

// Encode gives a message in this form; see [Encode] and [EncodeJSON].
func (f Format) Encode(v any) ([]byte, error) {
	if f == FormatJSON {
		return EncodeJSON(v)
	}
	return Encode(v)
}

// Decode reads a message in this form into v; see [Decode] and [DecodeJSON].
func (f Format) Decode(data []byte, v any) error {
	if f == FormatJSON {
		return DecodeJSON(data, v)
	}
	return Decode(data, v)
}

// Raw gives any value in this form as a [Raw], which shares the bytes where it can. No bytes are none.
func (f Format) Raw(data []byte) (Raw, error) {
	if f == FormatJSON && len(data) > 0 {
		return RawFromJSON(data)
	}
	raw := Raw(data)
	return raw, raw.Valid()
}

func (f Format) check() error {
	if f == "" || f == FormatMsgpack || f == FormatJSON {
		return nil
	}
	return Malformed("format is %s; msgpack or json would be right", quote(string(f)))
}
