package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// maxDepth is how deep tables may lie in each other; a policy needs three.
const maxDepth = 8

// readTOML reads TOML as a tree of maps, lists and values.
func readTOML(text []byte) (map[string]any, lines, error) {
	tree := map[string]any{}
	_, err := toml.Decode(string(text), &tree)
	if parse, ok := errors.AsType[toml.ParseError](err); ok {
		return nil, nil, fmt.Errorf("line %d: %s", parse.Position.Line, parse.Message)
	}
	if err != nil {
		return nil, nil, err
	}
	return tree, tomlLines(string(text)), nil
}

// tomlLines finds the lines of keys, those of inline tables excepted.
func tomlLines(text string) lines {
	found := lines{}
	var table []string
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if head, ok := strings.CutPrefix(line, "["); ok {
			head, _, _ = strings.Cut(strings.TrimPrefix(head, "["), "]")
			table = dotted(head)
			found.note(table, number)
		} else if key, _, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "#") {
			found.note(append(slices.Clip(table), dotted(key)...), number)
		}
	}
	return found
}

// dotted takes a key apart.
func dotted(key string) []string {
	parts := strings.Split(key, ".")
	for i, part := range parts {
		parts[i] = strings.Trim(strings.TrimSpace(part), `"'`)
	}
	return parts
}

// readJSON reads JSON as such a tree. A key that stands twice is an error: readers differ in which of them counts.
func readJSON(text []byte) (map[string]any, lines, error) {
	r := jsonReader{text: text, decoder: json.NewDecoder(bytes.NewReader(text)), lines: lines{}}
	r.decoder.UseNumber()
	value, err := r.value(nil)
	if err == nil {
		if _, err = r.decoder.Token(); errors.Is(err, io.EOF) {
			err = nil
		} else if err == nil {
			err = errors.New("there is something behind its end")
		}
	}
	tree, ok := value.(map[string]any)
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return nil, nil, fmt.Errorf("line %d: it ends in the middle", r.line())
	case err != nil:
		return nil, nil, fmt.Errorf("line %d: %w", r.line(), err)
	case !ok:
		return nil, nil, errors.New("line 1: it is no object")
	}
	return tree, r.lines, nil
}

// jsonReader reads JSON token by token.
type jsonReader struct {
	text    []byte
	decoder *json.Decoder
	lines   lines
}

// line is where the reader is.
func (r *jsonReader) line() int {
	return 1 + bytes.Count(r.text[:r.decoder.InputOffset()], []byte("\n"))
}

// value reads one value.
func (r *jsonReader) value(path []string) (any, error) {
	token, err := r.decoder.Token()
	if err != nil {
		return nil, err
	}
	if len(path) > maxDepth {
		return nil, fmt.Errorf("it is more than %d deep", maxDepth)
	}
	switch token {
	case json.Delim('{'):
		return r.object(path)
	case json.Delim('['):
		list := []any{}
		for r.decoder.More() {
			value, err := r.value(append(path, ""))
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		_, err := r.decoder.Token()
		return list, err
	}
	return token, nil
}

// object reads the rest of an object.
func (r *jsonReader) object(path []string) (any, error) {
	object := map[string]any{}
	for r.decoder.More() {
		token, err := r.decoder.Token()
		if err != nil {
			return nil, err
		}
		key, _ := token.(string) // nothing else stands there
		if _, twice := object[key]; twice {
			return nil, fmt.Errorf("%q stands there for the second time", key)
		}
		inner := append(slices.Clip(path), key)
		r.lines.note(inner, r.line())
		if object[key], err = r.value(inner); err != nil {
			return nil, err
		}
	}
	_, err := r.decoder.Token()
	return object, err
}
