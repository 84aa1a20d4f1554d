package wire

// Raw is one MessagePack value that is handed on as it is; the empty one is absent. In the JSON form of a message
// it stands as JSON, binary parts as base64.
type Raw []byte

// RawOf encodes a value: a message, or anything that one can hold. The error is that of [Encode].
func RawOf(v any) (Raw, error) {
	data, err := Encode(v)
	return Raw(data), err
}

// RawFromJSON gives any JSON value as a [Raw]. Texts stay texts: JSON has no binary. The error is that of
// [DecodeJSON].
func RawFromJSON(text []byte) (Raw, error) {
	data, err := transcode(text, anyPlan)
	return Raw(data), err
}

// Valid checks that the bytes are one value of the kinds that the protocol knows, or none.
func (r Raw) Valid() error {
	if len(r) == 0 {
		return nil
	}
	return validate(r)
}

// Into decodes the value into v, a pointer, with the checks of [Decode]; the value need not be a map. Nothing is
// written when the value is absent.
func (r Raw) Into(v any) error {
	if len(r) == 0 {
		return nil
	}
	if err := validate(r); err != nil {
		return err
	}
	return decode(r, v)
}

// MarshalJSON gives the value as JSON, null when it is absent.
func (r Raw) MarshalJSON() ([]byte, error) {
	if len(r) == 0 {
		return []byte("null"), nil
	}
	return jsonOf(r)
}

// UnmarshalJSON takes any JSON value.
func (r *Raw) UnmarshalJSON(text []byte) (err error) {
	*r, err = RawFromJSON(text)
	return err
}
