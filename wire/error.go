package wire

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Code says in what way a request failed. The numbers are those of HTTP where HTTP has one that fits.
type Code int

// The codes of the protocol.
const (
	CodeMalformed     Code = 400 // the request cannot be read, or a value in it is wrong
	CodeForbidden     Code = 403 // the caller lacks the right named in Detail["right"]
	CodeNotFound      Code = 404 // no such thing
	CodeConflict      Code = 409 // conflicts with what is
	CodeTooLarge      Code = 413 // too many bytes
	CodeUnprocessable Code = 422 // well formed but not acceptable: a bad signature, an expired certificate
	CodeHeld          Code = 423 // held by something else, described in Detail["transition"]
	CodeTooMany       Code = 429 // a limit of this identity is reached
	CodeInternal      Code = 500 // a fault of the daemon's
	CodeUnsupported   Code = 501 // this platform cannot
	CodeStopping      Code = 503 // the daemon is shutting down
	CodeTimeout       Code = 504 // no answer in time
	CodeStoreFull     Code = 507 // the store is full
)

// Error is the answer to a request that failed. It travels as the body {code, message, detail?} and in the
// headers Nats-Service-Error-Code and Nats-Service-Error.
type Error struct {
	Code    Code           `json:"code"`
	Message string         `json:"message"` // names the offending value and what would be right
	Detail  map[string]any `json:"detail,omitempty"`
}

// Error gives the message followed by the code.
func (e *Error) Error() string { return fmt.Sprintf("%s (%d)", e.Message, int(e.Code)) }

// Is makes errors.Is(err, &Error{Code: c}) ask for the code alone.
func (e *Error) Is(target error) bool {
	t, ok := errors.AsType[*Error](target)
	return ok && t.Message == "" && t.Code == e.Code
}

// With returns a copy of e that carries value under key in its detail.
func (e *Error) With(key string, value any) *Error {
	detail := map[string]any{key: value}
	for k, v := range e.Detail {
		if k != key {
			detail[k] = v
		}
	}
	return &Error{Code: e.Code, Message: e.Message, Detail: detail}
}

// Errorf makes an error of that code. The message is a sentence without a full stop.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Malformed makes the error of a request that cannot be read as it stands.
func Malformed(format string, args ...any) *Error { return Errorf(CodeMalformed, format, args...) }

// NotFound makes the error of a request for something that does not exist.
func NotFound(format string, args ...any) *Error { return Errorf(CodeNotFound, format, args...) }

// Conflict makes the error of a request that contradicts what is.
func Conflict(format string, args ...any) *Error { return Errorf(CodeConflict, format, args...) }

// AsError gives err as it is told to a caller: an [Error] anywhere in its chain as it is, anything else as
// the daemon's own fault with its text.
func AsError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return Errorf(CodeInternal, "%v", err)
}

// quote shows an outside text in a message: quoted, escaped, and cut after 64 bytes at a whole character.
func quote(text string) string {
	const most = 64
	if len(text) > most {
		cut := most
		for cut > 0 && !utf8.RuneStart(text[cut]) {
			cut--
		}
		return fmt.Sprintf("%q…", text[:cut])
	}
	return fmt.Sprintf("%q", text)
}

// Nearest returns the candidate that word most likely means, for hints: the first that it begins, else the one
// with the fewest edits from it; "" if there is none.
func Nearest(word string, candidates []string) string {
	word = strings.ToLower(word[:min(len(word), 128)])
	best, least := "", -1
	for _, candidate := range candidates {
		lower := strings.ToLower(candidate)
		if word != "" && strings.HasPrefix(lower, word) {
			return candidate
		}
		if d := edits(word, lower); least < 0 || d < least {
			best, least = candidate, d
		}
	}
	return best
}

// edits is the Levenshtein distance in bytes.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substitute := diagonal
			if a[i] != b[j] {
				substitute++
			}
			diagonal = row[j+1]
			row[j+1] = min(substitute, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
