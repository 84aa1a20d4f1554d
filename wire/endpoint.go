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
	Waits   bool         // the answer may take long
	Aside   bool         // requests are served side by side, because one may take a while
	Big     bool         // the payload may carry a blob
	Changes bool         // it changes something, so keys that are required must be there
	Req     reflect.Type // what it takes
	Ans     reflect.Type // what it answers

	parameters []parameter // of the subject, in order
}

// parameter is a part of a subject that differs from request to request.
type parameter struct {
	name  string // as in "<name>"
	token int    // which one of the subject it is, from 0
	field []int  // of the request that it is read into; nil for none
}

// parametersOf finds the parameters of a subject and the fields of the request that are tagged with their names.
func parametersOf(subject string, req reflect.Type) []parameter {
	var found []parameter
	for i, token := range strings.Split(subject, ".") {
		name := parameterName(token)
		if name == "" {
			continue
		}
		p := parameter{name: name, token: i}
		for _, f := range reflect.VisibleFields(req) {
			if f.Tag.Get("path") == name {
				p.field = f.Index
			}
		}
		found = append(found, p)
	}
	return found
}

// parameterName gives the name in "<name>", "" for a token that is no parameter.
func parameterName(token string) string {
	if len(token) > 2 && token[0] == '<' && token[len(token)-1] == '>' {
		return token[1 : len(token)-1]
	}
	return ""
}

// MaxBytes is the largest payload that the endpoint reads.
func (e *EndpointInfo) MaxBytes() int {
	if e.Big {
		return MaxBlob*4/3 + MaxRequest // as base64 in JSON
	}
	return MaxRequest
}

// Pattern is the subject to subscribe to: each parameter is a wildcard.
func (e *EndpointInfo) Pattern() string { return Pattern(e.Subject) }

// Pattern makes each parameter of a subject a wildcard.
func Pattern(subject string) string {
	tokens := strings.Split(subject, ".")
	for i, token := range tokens {
		if parameterName(token) != "" {
			tokens[i] = "*"
		}
	}
	return strings.Join(tokens, ".")
}

// Reach lists the patterns of the subjects on which the endpoint is asked, well or badly: its own and, under sys.api,
// those with a parameter too few or too many. No two endpoints share a subject.
func (e *EndpointInfo) Reach() []string {
	head, _, has := strings.Cut(e.Subject, ".<")
	if !has || !strings.HasPrefix(head, "sys.api.") {
		return []string{e.Pattern()}
	}
	return []string{head, head + ".>"}
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
	if len(e.parameters) == 0 {
		return e.Subject
	}
	value := reflect.ValueOf(req)
	var filled []string
	for _, p := range e.parameters {
		if field := value.FieldByIndex(p.field); field.Kind() == reflect.Int {
			filled = append(filled, strconv.Itoa(int(field.Int())))
		} else {
			filled = append(filled, field.String())
		}
	}
	return Fill(e.Subject, filled...)
}

// ReadPath fills the path fields of req from the subject that a request came on.
func (e Endpoint[Req, Ans]) ReadPath(subject string, req *Req) error {
	for _, p := range e.parameters {
		text, ok := tokenOf(subject, p.token)
		if !ok {
			return Malformed("subject %s ends before its <%s>; it is %s", quote(subject), p.name, e.Subject)
		}
		field := reflect.ValueOf(req).Elem().FieldByIndex(p.field)
		if field.Kind() != reflect.Int {
			if err := CheckName(p.name, text); err != nil {
				return err
			}
			field.SetString(text)
			continue
		}
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || strconv.Itoa(int(n)) != text {
			return Malformed("<%s> in the subject is %s; a number such as 0 would be right", p.name, quote(text))
		}
		field.SetInt(int64(n))
	}
	return nil
}

// tokenOf gives the token at an index; false for a subject that ends before it.
func tokenOf(subject string, index int) (token string, ok bool) {
	rest := subject
	for range index {
		if _, rest, ok = strings.Cut(rest, "."); !ok {
			return "", false
		}
	}
	token, _, _ = strings.Cut(rest, ".")
	return token, true
}
