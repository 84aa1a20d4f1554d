package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Format is how a document is written.
type Format string

// The formats.
const (
	TOML Format = "toml"
	JSON Format = "json"
)

// FormatOf tells the format of a file by the end of its name.
func FormatOf(path string) (Format, error) {
	switch {
	case strings.HasSuffix(path, ".toml"):
		return TOML, nil
	case strings.HasSuffix(path, ".json"):
		return JSON, nil
	}
	return "", fmt.Errorf("%q ends neither with .toml nor with .json", path)
}

// Parse reads a document and checks it. The error begins with the line.
func Parse(format Format, text []byte) (*Document, error) {
	if len(text) > MaxSize {
		return nil, fmt.Errorf("it has more than the %d bytes that a policy may have", MaxSize)
	}
	read := readTOML
	if format == JSON {
		read = readJSON
	}
	tree, lines, err := read(text)
	if err != nil {
		return nil, err
	}
	d := &Document{}
	if err = fill(d, tree); err == nil {
		err = d.check()
	}
	if f, ok := errors.AsType[*fault](err); ok {
		return nil, fmt.Errorf("line %d: %w", lines.of(f.path), f)
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}

// Digest names a text: its SHA-256 in hexadecimal digits.
func Digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// fault is what is wrong with a document, and where.
type fault struct {
	path []string
	what string
}

// wrong makes a fault of the document as a whole.
func wrong(format string, args ...any) *fault { return &fault{what: fmt.Sprintf(format, args...)} }

// at says of which key it is.
func (f *fault) at(path ...string) *fault {
	f.path = append(path, f.path...)
	return f
}

// Error implements error.
func (f *fault) Error() string {
	if len(f.path) == 0 {
		return "it " + f.what
	}
	return strings.Join(f.path, ".") + " " + f.what
}

// lines tells where each key stands: its path joined by newlines, which no key has, to its line.
type lines map[string]int

// note remembers where a key stands, if it does not stand somewhere already.
func (l lines) note(path []string, line int) {
	key := strings.Join(path, "\n")
	if _, there := l[key]; !there {
		l[key] = line
	}
}

// of finds the line of a key, or of the table in which it is missing.
func (l lines) of(path []string) int {
	for ; len(path) > 0; path = path[:len(path)-1] {
		if line, there := l[strings.Join(path, "\n")]; there {
			return line
		}
	}
	return 1
}
