package bus

import (
	"errors"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"muster/wire"
)

// stray is a request on a subject that would be an endpoint's if it had fewer or more tokens. The micro service knows
// nothing of it.
type stray struct {
	micro.Request // nil
	m             *nats.Msg
}

// Subject implements micro.Request.
func (s stray) Subject() string { return s.m.Subject }

// Reply implements micro.Request.
func (s stray) Reply() string { return s.m.Reply }

// Data implements micro.Request.
func (s stray) Data() []byte { return s.m.Data }

// Headers implements micro.Request.
func (s stray) Headers() micro.Headers { return micro.Headers(s.m.Header) }

// Error implements micro.Request.
func (s stray) Error(code, text string, data []byte, opts ...micro.RespondOpt) error {
	answer := &nats.Msg{Data: data, Header: nats.Header{wire.HeaderErrorCode: []string{code}, wire.HeaderError: []string{text}}}
	for _, opt := range opts {
		opt(answer)
	}
	return s.m.RespondMsg(answer)
}

// bindStrays tells those who leave a parameter of an endpoint out, or put a dot into one, what would be right. Otherwise
// the server would tell them that nobody is there.
func (b *Bus) bindStrays(e *wire.EndpointInfo) error {
	if !strings.HasPrefix(e.Subject, "sys.api.") {
		return nil // nothing else of the kind reaches the daemon
	}
	tokens := strings.Split(e.Pattern(), ".")
	var errs []error
	for n, token := range tokens {
		if token == "*" {
			errs = append(errs, b.bindStray(e, strings.Join(tokens[:n], ".")))
		}
	}
	if len(errs) > 0 {
		errs = append(errs, b.bindStray(e, e.Pattern()+".>"))
	}
	return errors.Join(errs...)
}

func (b *Bus) bindStray(e *wire.EndpointInfo, subject string) error {
	_, err := b.own.Subscribe(from("*", subject), func(m *nats.Msg) {
		b.serve(e, stray{m: m}, func(r *request) (any, error) {
			return nil, wire.Malformed("subject %.200q does not fit; %s would be right, and none of its parts has a dot in it", r.subject, e.Subject)
		})
	})
	return err
}
