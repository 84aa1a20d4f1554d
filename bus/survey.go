package bus

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Survey is what a store says of a key while no server runs on it.
type Survey struct {
	Plain  []string // streams of which something is not encrypted
	Opened int      // files of the server's own keys that the key opens
	Closed []string // and those that it does not: all of them with a wrong key, one where a bit has flipped
}

// Look surveys the store of the bus in dir, with its key or with "". It touches nothing. A folder without a store has
// nothing to say.
func Look(dir, key string) (s Survey, err error) {
	accounts, err := folders(filepath.Join(dir, "store", "jetstream"))
	for _, account := range accounts {
		streams, errStreams := folders(filepath.Join(account, "streams"))
		err = errors.Join(err, errStreams)
		for _, stream := range streams {
			err = errors.Join(err, s.stream(stream, filepath.Base(account), key))
		}
	}
	return s, err
}

// Sealed reports whether there is something that only a key opens.
func (s Survey) Sealed() bool { return s.Opened+len(s.Closed) > 0 }

// folders lists the folders in one, as paths. Those that begin with a dot are half deleted.
func folders(path string) ([]string, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, absent(err)
	}
	var list []string
	for _, entry := range entries {
		if entry.IsDir() && !strings.HasPrefix(entry.Name(), ".") {
			list = append(list, filepath.Join(path, entry.Name()))
		}
	}
	return list, nil
}

// absent lets a file be missing.
func absent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// stream surveys one stream: its description, and its messages in numbered blocks, each with a key file beside it.
func (s *Survey) stream(path, account, key string) error {
	name := filepath.Base(path)
	plain, err := s.pair(filepath.Join(path, "meta.inf"), filepath.Join(path, "meta.key"), key, account+name)
	if err != nil {
		return err
	}
	blocks, err := filepath.Glob(filepath.Join(escape(path), "msgs", "*.blk"))
	for _, block := range blocks {
		stem := strings.TrimSuffix(block, ".blk")
		bare, errPair := s.pair(block, stem+".key", key, account+name+":"+filepath.Base(stem))
		plain, err = plain || bare, errors.Join(err, errPair)
	}
	if plain {
		s.Plain = append(s.Plain, name)
	}
	return err
}

// escape lets a path stand in a pattern.
var escape = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace

// pair surveys a file and the one that has its key. It is plain where there is content and no key.
func (s *Survey) pair(file, keyFile, key, purpose string) (plain bool, err error) {
	sealed, err := os.ReadFile(keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		info, err := os.Stat(file)
		return err == nil && info.Size() > 0, absent(err)
	}
	if err != nil {
		return false, fmt.Errorf("survey the store: %w", err)
	}
	if _, ok := unlock(sealed, key, purpose); ok {
		s.Opened++
	} else {
		s.Closed = append(s.Closed, keyFile)
	}
	return false, nil
}

// unlock does with a key file what the server does: AES-GCM with a nonce of 16 bytes, under a key made from the store's
// and the purpose. What is in it is the key of the file beside. A test holds it against a server.
func unlock(sealed []byte, key, purpose string) ([]byte, bool) {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(purpose))
	block, err := aes.NewCipher(mac.Sum(nil))
	if err != nil {
		return nil, false
	}
	gcm, err := cipher.NewGCMWithNonceSize(block, aes.BlockSize)
	if err != nil || len(sealed) < aes.BlockSize {
		return nil, false
	}
	inner, err := gcm.Open(nil, sealed[:aes.BlockSize], sealed[aes.BlockSize:], nil)
	return inner, err == nil
}
