package wire

import (
	"encoding/binary"
	"math"
	"unicode/utf8"
)

// The bounds of what a message may be made of. Counts are against amplification: an element on the wire takes one
// byte, in memory many.
const (
	maxElements = 64 << 10 // values, or one for each four bytes in a message that is larger
	maxMemory   = 8 << 20  // bytes of lists and maps
)

// reader takes MessagePack apart without allocating. After the first fault it gives nothing more.
type reader struct {
	data     []byte
	at       int
	checked  bool // the structure was
	elements int
	path     path // of what is read into a value
	room     int  // bytes that lists and maps may still take in memory
}

// take makes room for n elements of that size.
func (r *reader) take(n, size int) error {
	if r.room -= n * size; r.room < 0 {
		return Malformed("message unfolds to more than %d bytes", maxMemory)
	}
	return nil
}

// isNil reports whether the next value is nil.
func (r *reader) isNil() bool { return r.at < len(r.data) && r.data[r.at] == 0xc0 }

// next reads one token. Its length is held against the bytes that are left, so that no count is believed.
func (r *reader) next() (token, error) {
	if r.at >= len(r.data) {
		return token{}, Malformed("message ends at byte %d within a value", r.at)
	}
	if r.elements++; r.elements > max(maxElements, len(r.data)/4) {
		return token{}, Malformed("message has more than %d values", max(maxElements, len(r.data)/4))
	}
	code := r.data[r.at]
	r.at++
	switch {
	case code <= 0x7f:
		return token{kind: kindInt, bits: uint64(code)}, nil
	case code <= 0x8f:
		return r.head(kindMap, uint64(code&0x0f))
	case code <= 0x9f:
		return r.head(kindList, uint64(code&0x0f))
	case code <= 0xbf:
		return r.run(kindText, uint64(code&0x1f))
	case code >= 0xe0:
		return token{kind: kindInt, bits: uint64(int64(int8(code)))}, nil
	}
	form := forms[code-0xc0]
	if form.fault != "" {
		return token{}, Malformed("byte %d is 0x%02x, %s", r.at-1, code, form.fault)
	}
	number, err := r.number(form.width)
	if err != nil {
		return token{}, err
	}
	switch form.shape {
	case shapeSelf:
		return token{kind: form.kind, bits: form.bits}, nil
	case shapeSigned:
		shift := 64 - 8*form.width
		return token{kind: kindInt, bits: uint64(int64(number<<shift) >> shift)}, nil
	case shapeUnsigned:
		if number > math.MaxInt64 {
			return token{kind: kindUint, bits: number}, nil
		}
		return token{kind: kindInt, bits: number}, nil
	case shapeFloat:
		if form.width == 4 {
			number = math.Float64bits(float64(math.Float32frombits(uint32(number))))
		}
		return token{kind: kindFloat, bits: number}, nil
	case shapeRun:
		return r.run(form.kind, number)
	default:
		return r.head(form.kind, number)
	}
}

// shape says how the number behind a code byte is to be taken.
type shape uint8

const (
	shapeSelf     shape = iota // there is none
	shapeSigned                // it is the value
	shapeUnsigned              // it is the value
	shapeFloat                 // it is the value's bits
	shapeRun                   // it counts the bytes that follow
	shapeHead                  // it counts the values that follow
)

// form is what a code byte from 0xc0 to 0xdf announces.
type form struct {
	kind  kind
	shape shape
	width int // bytes of the number behind it
	bits  uint64
	fault string
}

const extension = "an extension type; only nil, boolean, number, text, binary, list and map would be right"

// forms is the table of the MessagePack specification, from 0xc0.
var forms = [32]form{
	{kind: kindNil},
	{fault: "which no value begins with"},
	{kind: kindBool},
	{kind: kindBool, bits: 1},
	{kind: kindBytes, shape: shapeRun, width: 1},
	{kind: kindBytes, shape: shapeRun, width: 2},
	{kind: kindBytes, shape: shapeRun, width: 4},
	{fault: extension},
	{fault: extension},
	{fault: extension},
	{shape: shapeFloat, width: 4},
	{shape: shapeFloat, width: 8},
	{shape: shapeUnsigned, width: 1},
	{shape: shapeUnsigned, width: 2},
	{shape: shapeUnsigned, width: 4},
	{shape: shapeUnsigned, width: 8},
	{shape: shapeSigned, width: 1},
	{shape: shapeSigned, width: 2},
	{shape: shapeSigned, width: 4},
	{shape: shapeSigned, width: 8},
	{fault: extension},
	{fault: extension},
	{fault: extension},
	{fault: extension},
	{fault: extension},
	{kind: kindText, shape: shapeRun, width: 1},
	{kind: kindText, shape: shapeRun, width: 2},
	{kind: kindText, shape: shapeRun, width: 4},
	{kind: kindList, shape: shapeHead, width: 2},
	{kind: kindList, shape: shapeHead, width: 4},
	{kind: kindMap, shape: shapeHead, width: 2},
	{kind: kindMap, shape: shapeHead, width: 4},
}

// number reads width bytes, the most significant first.
func (r *reader) number(width int) (uint64, error) {
	if len(r.data)-r.at < width {
		return 0, Malformed("message ends at byte %d within a number", len(r.data))
	}
	from := r.data[r.at:]
	r.at += width
	switch width {
	case 0:
		return 0, nil
	case 1:
		return uint64(from[0]), nil
	case 2:
		return uint64(binary.BigEndian.Uint16(from)), nil
	case 4:
		return uint64(binary.BigEndian.Uint32(from)), nil
	}
	return binary.BigEndian.Uint64(from), nil
}

// run takes n bytes of text or binary.
func (r *reader) run(k kind, n uint64) (token, error) {
	if n > uint64(len(r.data)-r.at) {
		return token{}, Malformed("byte %d announces %d bytes where %d are left", r.at, n, len(r.data)-r.at)
	}
	bytes := r.data[r.at : r.at+int(n)]
	r.at += int(n)
	if k == kindText && !r.checked && !utf8.Valid(bytes) {
		return token{}, Malformed("the text at byte %d is not UTF-8", r.at-int(n))
	}
	return token{kind: k, bytes: bytes}, nil
}

// head begins a list of n values or a map of n pairs, each at least one byte.
func (r *reader) head(k kind, n uint64) (token, error) {
	least := n
	if k == kindMap {
		least = 2 * n
	}
	if least > uint64(len(r.data)-r.at) {
		return token{}, Malformed("byte %d announces %d values where %d bytes are left", r.at, least, len(r.data)-r.at)
	}
	return token{kind: k, count: int(n)}, nil
}

// skip reads one value whole, however it is built, to depth levels below it.
func (r *reader) skip(depth int) error {
	t, err := r.next()
	if err != nil {
		return err
	}
	return r.skipRest(t, depth)
}

// skipRest reads what follows the head t.
func (r *reader) skipRest(t token, depth int) error {
	if t.count > 0 && depth <= 0 {
		return Malformed("message is nested deeper than %d", MaxDepth)
	}
	for range t.count {
		if t.kind == kindMap {
			if _, err := r.key(); err != nil {
				return err
			}
		}
		if err := r.skip(depth - 1); err != nil {
			return err
		}
	}
	return nil
}

// key reads the key of a map.
func (r *reader) key() ([]byte, error) {
	if r.checked && r.data[r.at]&0xe0 == 0xa0 { // as almost every key is: text of less than 32 bytes
		from := r.at + 1
		r.at = from + int(r.data[r.at]&0x1f)
		return r.data[from:r.at], nil
	}
	t, err := r.next()
	if err != nil {
		return nil, err
	}
	if t.kind != kindText {
		return nil, Malformed("a key of a map is %s; a text would be right", t.kind)
	}
	return t.bytes, nil
}

// end makes sure that nothing follows.
func (r *reader) end() error {
	if left := len(r.data) - r.at; left > 0 {
		return Malformed("%d bytes follow the message", left)
	}
	return nil
}

// validate checks that data is exactly one value of the kinds that the protocol knows.
func validate(data []byte) error {
	r := reader{data: data}
	if err := r.skip(MaxDepth); err != nil {
		return err
	}
	return r.end()
}
