package seal

import (
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
)

const keySize = 32

// Key is 32 secret bytes; the zero Key is none. However it is printed, logged or marshalled, what comes out is that it
// is a key; [Key.Reveal] is the one way to its bytes. Copies share them, and [Key.Wipe] ends them all.
type Key struct {
	bytes func() []byte // a function, because fmt looks behind pointers where a Key stands in a field not exported
}

// hold makes a key of bytes that are nobody else's from now on.
func hold(secret []byte) Key { return Key{func() []byte { return secret }} }

// redacted stands for every key wherever one is shown.
const redacted = "[key]"

// String implements fmt.Stringer.
func (Key) String() string { return redacted }

// GoString implements fmt.GoStringer.
func (Key) GoString() string { return redacted }

// Format implements fmt.Formatter, for the verbs that ask neither String nor GoString.
func (Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) } // as fmt itself does

// LogValue implements slog.LogValuer.
func (Key) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements encoding.TextMarshaler.
func (Key) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Present reports whether there is a key.
func (k Key) Present() bool { return k.bytes != nil }

// Reveal gives the key as 64 hexadecimal digits, for the server, which takes its key as text; no key is "". Nothing can
// wipe a string.
func (k Key) Reveal() string {
	if !k.Present() {
		return ""
	}
	return hex.EncodeToString(k.bytes())
}

// derive gives the key for one purpose; from it nothing can be learnt of this one, or of another purpose's.
func (k Key) derive(purpose string) Key {
	if !k.Present() {
		return Key{}
	}
	derived, err := hkdf.Key(sha256.New, k.bytes(), nil, "muster 1 "+purpose, keySize)
	if err != nil {
		panic(err) // the length is one that SHA-256 allows, which is all that can be wrong
	}
	return hold(derived)
}

// Wipe overwrites the key.
func (k Key) Wipe() {
	if k.Present() {
		clear(k.bytes())
	}
}

// newKey makes one.
func newKey() Key {
	secret := make([]byte, keySize)
	_, _ = rand.Read(secret) // never fails
	return hold(secret)
}

// parseKey reads a key file's content: the 32 bytes, or 64 hexadecimal digits and perhaps the end of a line. What is
// wrong is said without repeating any of it.
func parseKey(text []byte) (Key, error) {
	secret := make([]byte, keySize)
	switch digits := bytes.TrimRight(text, "\r\n"); {
	case len(text) == keySize:
		copy(secret, text)
	case len(digits) != hex.EncodedLen(keySize):
		return Key{}, fmt.Errorf("it has %d bytes; %d random ones, or %d hexadecimal digits, would be right", len(text), keySize, hex.EncodedLen(keySize))
	default:
		if _, err := hex.Decode(secret, digits); err != nil {
			clear(secret)
			return Key{}, fmt.Errorf("not all of its %d characters are hexadecimal digits", len(digits))
		}
	}
	if bytes.Count(secret, secret[:1]) == keySize {
		return Key{}, fmt.Errorf("it is the same byte %d times; random ones would be right", keySize)
	}
	return hold(secret), nil
}
