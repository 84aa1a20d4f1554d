package wire

import (
	"reflect"
	"strconv"
	"strings"
)

// The sizes that a payload may have, in bytes.
const (
	MaxBlob    = 1 << 20  // a blob's content
	MaxRequest = 64 << 10 // any other request
	MaxSMD     = 16 << 10 // an event of a participant's
	MaxPayload = 2 << 20  // anything at all: the server's own limit, above the others so that they can be told
)

// MaxDepth is how many lists and maps may stand within one another in a message, itself included.
const MaxDepth = 32

// Endpoint is one request subject: what it takes, what it answers and which right it needs.
//
// A subject may have parts in angle brackets, "sys.api.blob.get.<name>.<index>". What stands there in a request
// is read into the fields of Req that are tagged path:"name"; they are no part of the payload.
type Endpoint[Req, Ans any] struct{ *EndpointInfo }

// EndpointInfo is what an [Endpoint] is besides its types.
type EndpointInfo struct {
	Subject string       // with its parameters in angle brackets
	Right   string       // may name parameters: "blob:read:<name>"; "" where the handler decides by itself
	Doc     string       // one sentence for people
	Waits   bool         // the answer may take long, so requests are served side by side
	Big     bool         // the payload may carry a blob
	Changes bool         // it changes something, so keys that are required must be there
	Req     reflect.Type // what it takes
	Ans     reflect.Type // what it answers
}

// MaxBytes is the largest payload that the endpoint reads.
func (e *EndpointInfo) MaxBytes() int {
	if e.Big {
		return MaxBlob*4/3 + MaxRequest // as base64 in JSON
	}
	return MaxRequest
}

// Pattern is the subject to subscribe to: each parameter is a wildcard.
func (e *EndpointInfo) Pattern() string { return pattern(e.Subject) }

// pattern makes each parameter of a subject a wildcard.
func pattern(subject string) string {
	tokens := strings.Split(subject, ".")
	for i, token := range tokens {
		if parameter(token) != "" {
			tokens[i] = "*"
		}
	}
	return strings.Join(tokens, ".")
}

// Fill gives the subject (or, for that matter, a right) with its parameters replaced in order.
func Fill(subject string, parameters ...string) string {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(subject, "<")
		b.WriteString(before)
		if !found || len(parameters) == 0 {
			return b.String()
		}
		_, after, _ := strings.Cut(rest, ">")
		b.WriteString(parameters[0])
		subject, parameters = after, parameters[1:]
	}
}

// For gives the subject of a request, its parameters filled from the path fields of req.
func (e Endpoint[Req, Ans]) For(req Req) string {
	if !strings.Contains(e.Subject, "<") {
		return e.Subject
	}
	value := reflect.ValueOf(req)
	tokens := strings.Split(e.Subject, ".")
	for i, token := range tokens {
		name := parameter(token)
		if name == "" {
			continue
		}
		field := value.FieldByIndex(pathFields(e.Req)[name])
		if field.Kind() == reflect.Int {
			tokens[i] = strconv.Itoa(int(field.Int()))
		} else {
			tokens[i] = field.String()
		}
	}
	return strings.Join(tokens, ".")
}

// ReadPath fills the path fields of req from the subject that a request came on.
func (e Endpoint[Req, Ans]) ReadPath(subject string, req *Req) error {
	if !strings.Contains(e.Subject, "<") {
		return nil
	}
	value := reflect.ValueOf(req).Elem()
	got := strings.Split(subject, ".")
	for i, token := range strings.Split(e.Subject, ".") {
		name := parameter(token)
		if name == "" {
			continue
		}
		if i >= len(got) {
			return Malformed("subject %s ends before its <%s>; it is %s", quote(subject), name, e.Subject)
		}
		field := value.FieldByIndex(pathFields(e.Req)[name])
		if field.Kind() != reflect.Int {
			if err := CheckName(name, got[i]); err != nil {
				return err
			}
			field.SetString(got[i])
			continue
		}
		n, err := strconv.ParseUint(got[i], 10, 16)
		if err != nil || strconv.Itoa(int(n)) != got[i] {
			return Malformed("<%s> in the subject is %s; a number such as 0 would be right", name, quote(got[i]))
		}
		field.SetInt(int64(n))
	}
	return nil
}

// parameter gives the name in "<name>", "" for a token that is no parameter.
func parameter(token string) string {
	if len(token) > 2 && token[0] == '<' && token[len(token)-1] == '>' {
		return token[1 : len(token)-1]
	}
	return ""
}

// pathFields finds the fields of a request that stand in its subject.
func pathFields(t reflect.Type) map[string][]int {
	fields := map[string][]int{}
	for _, f := range reflect.VisibleFields(t) {
		if name := f.Tag.Get("path"); name != "" {
			fields[name] = f.Index
		}
	}
	return fields
}
