package wire

import (
	"math"
	"strconv"
)

// kind is what a MessagePack value is.
type kind uint8

const (
	kindNil kind = iota
	kindBool
	kindInt  // fits int64
	kindUint // does not fit int64
	kindFloat
	kindText
	kindBytes
	kindList
	kindMap
)

func (k kind) String() string {
	return [...]string{"nil", "a boolean", "an integer", "an integer", "a number", "a text", "binary", "a list", "a map"}[k]
}

// token is one value, or the head of a list or map, whose parts follow it.
type token struct {
	kind  kind
	bits  uint64 // of a number or boolean
	bytes []byte // of a text or binary; part of the message
	count int    // of a list, or the pairs of a map
}

// String shows the token in a sentence.
func (t token) String() string {
	switch t.kind {
	case kindBool:
		return strconv.FormatBool(t.bits == 1)
	case kindInt:
		return strconv.FormatInt(int64(t.bits), 10)
	case kindUint:
		return strconv.FormatUint(t.bits, 10)
	case kindFloat:
		return strconv.FormatFloat(math.Float64frombits(t.bits), 'g', -1, 64)
	case kindText:
		return quote(string(t.bytes))
	default:
		return t.kind.String()
	}
}

// value gives a token that is neither a list nor a map as Go has it.
func (t token) value() any {
	switch t.kind {
	case kindBool:
		return t.bits == 1
	case kindInt:
		return int64(t.bits)
	case kindUint:
		return t.bits
	case kindFloat:
		return math.Float64frombits(t.bits)
	case kindText:
		return string(t.bytes)
	case kindBytes:
		return append([]byte{}, t.bytes...)
	default:
		return nil
	}
}
