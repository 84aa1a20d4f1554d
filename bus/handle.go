package bus

import (
	"context"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/micro"

	"muster/wire"
)

// Handle binds an endpoint to the method that answers it. What every request needs happens here, once: who asks, by
// the server's word; the right; the size; MessagePack or JSON; the checks; the form of errors; counting; tracing.
//
// Requests to one endpoint are answered one after the other, except where the endpoint says otherwise. The context ends
// when the bus closes. A request without a reply subject is carried out only where that is the protocol's way of
// asking (a booking); one whose reply would go anywhere but an inbox is not.
func Handle[Req, Ans any](b *Bus, e wire.Endpoint[Req, Ans], f func(context.Context, wire.Caller, Req) (Ans, error)) error {
	return b.bind(e.EndpointInfo, func(r *request) (any, error) {
		var req Req
		if err := r.format.Decode(r.Data(), &req); err != nil {
			return nil, err
		}
		if err := e.ReadPath(r.subject, &req); err != nil {
			return nil, err
		}
		return f(b.ctx, r.caller, req)
	})
}

// bind adds the endpoint to the micro service.
func (b *Bus) bind(e *wire.EndpointInfo, answer answering) error {
	serve := func(r micro.Request) { b.serve(e, r, answer) }
	err := b.micro.AddEndpoint(endpointName(e.Subject), micro.HandlerFunc(serve), micro.WithEndpointSubject(from("*", e.Pattern())),
		micro.WithEndpointMetadata(map[string]string{"subject": e.Subject, "right": e.Right, "about": e.Doc}))
	if err == nil {
		err = b.bindStrays(e)
	}
	if err != nil {
		return fmt.Errorf("bind %s: %w", e.Subject, err)
	}
	return nil
}

// endpointName names an endpoint in the service's listing: "state-get".
func endpointName(subject string) string {
	var words []string
	for token := range strings.SplitSeq(subject, ".") {
		if token != "sys" && token != "api" && !strings.HasPrefix(token, "<") {
			words = append(words, token)
		}
	}
	return strings.Join(words, "-")
}
