package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"errors"
)

// errShut says that something was not sealed with this key under this name.
var errShut = errors.New("it is not sealed with this key under this name")

// head is how sealed content begins.
var head = []byte("sealed\x00\x01")

// box seals content under a name. A random nonce is safe for far more content than a device ever writes (2³² times).
type box struct{ aead cipher.AEAD }

// newBox makes one; the key may be wiped afterwards.
func newBox(k Key) box {
	block, err := aes.NewCipher(k.bytes())
	if err != nil {
		panic(err) // the key's length is right, which is all that can be wrong
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // it is AES
	}
	return box{aead}
}

func (b box) seal(name string, data []byte) []byte {
	sealed := make([]byte, 0, len(head)+len(data)+b.aead.Overhead())
	return b.aead.Seal(append(sealed, head...), nil, data, []byte(name))
}

func (b box) open(name string, content []byte) ([]byte, error) {
	sealed, ok := bytes.CutPrefix(content, head)
	if !ok {
		return nil, errShut
	}
	data, err := b.aead.Open(nil, nil, sealed, []byte(name))
	if err != nil {
		return nil, errShut
	}
	return data, nil
}
