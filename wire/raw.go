package wire

import "github.com/vmihailenco/msgpack/v5"

// Raw is one MessagePack value that is handed on as it is; the empty one is absent. In the JSON form of a message
// it stands as JSON, binary parts as base64.
type Raw []byte

// EncodeMsgpack writes the value as it is.
func (r Raw) EncodeMsgpack(enc *msgpack.Encoder) error {
	if len(r) == 0 {
		return enc.EncodeNil()
	}
	return enc.Encode(msgpack.RawMessage(r))
}

// DecodeMsgpack takes the next value as it is.
func (r *Raw) DecodeMsgpack(dec *msgpack.Decoder) error {
	value, err := dec.DecodeRaw()
	if err != nil {
		return err
	}
	*r = Raw(value)
	return nil
}
