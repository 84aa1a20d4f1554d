package bus

import (
	"cmp"
	"context"
	"fmt"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
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
	serve := func(r micro.Request) {
		b.serve(e.EndpointInfo, r, func(caller wire.Caller, isJSON bool) (any, error) {
			var req Req
			if err := decode(r.Data(), isJSON, &req); err != nil {
				return nil, err
			}
			_, subject := cameFrom(r.Subject())
			if err := e.ReadPath(subject, &req); err != nil {
				return nil, err
			}
			return f(b.ctx, caller, req)
		})
	}
	return b.bind(e.EndpointInfo, serve)
}

// bind adds the endpoint to the micro service.
func (b *Bus) bind(e *wire.EndpointInfo, serve micro.HandlerFunc) error {
	err := b.micro.AddEndpoint(endpointName(e.Subject), serve, micro.WithEndpointSubject(from("*", e.Pattern())),
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

// serve does for one request what is the same for all. One that may take a while is carried out on a goroutine of its
// own.
func (b *Bus) serve(e *wire.EndpointInfo, r micro.Request, answer func(wire.Caller, bool) (any, error)) {
	started := time.Now()
	h, caller, err := b.sender(r.Subject(), nats.Header(r.Headers()).Get(originHeader))
	isJSON := wire.IsJSON(r.Headers().Get(wire.HeaderContentType))
	if err != nil || !answerable(e, r.Reply()) {
		b.unheard(e, r, isJSON, err)
		return
	}
	traced := b.traced()
	if traced {
		b.traceRequest(r, caller, isJSON)
	}
	carryOut := func() {
		var result any
		err := b.allowed(e, r, &h)
		if err == nil {
			result, err = b.guarded(e, func() (any, error) { return answer(caller, isJSON) })
		}
		b.done(e, r, caller, isJSON, result, err, traced, started)
	}
	if !e.Aside {
		carryOut()
		return
	}
	if err := b.waiting.enter(caller); err != nil {
		b.done(e, r, caller, isJSON, nil, err, traced, started)
		return
	}
	b.working.Go(func() {
		defer b.waiting.leave(caller)
		carryOut()
	})
}

// answerable reports whether a request says where its answer is to go, and that is an inbox, or needs none.
func answerable(e *wire.EndpointInfo, reply string) bool {
	if reply == "" {
		return e == wire.LoopBook.EndpointInfo
	}
	return strings.HasPrefix(reply, wire.InboxPrefix) || strings.HasPrefix(reply, wire.ServiceInboxRoot)
}

// done traces and sends the answer.
func (b *Bus) done(e *wire.EndpointInfo, r micro.Request, caller wire.Caller, isJSON bool, result any, err error, traced bool, started time.Time) {
	if traced {
		b.traceAnswer(r, caller, result, err, time.Since(started))
	}
	if r.Reply() == "" {
		if err != nil {
			b.note(caller.Identity, e.Subject, err)
		}
		return
	}
	b.reply(e, r, caller, isJSON, result, err)
}

// unheard counts a request that is not carried out because nothing sure is known of who asks, or because its answer has
// nowhere to go. Whoever can be told is.
func (b *Bus) unheard(e *wire.EndpointInfo, r micro.Request, isJSON bool, err error) {
	account, _ := cameFrom(r.Subject())
	h, known := b.auth.home(account)
	if err == nil {
		err = wire.Malformed("reply subject is no inbox")
	}
	if !known || !answerable(e, r.Reply()) || r.Reply() == "" {
		b.note(cmp.Or(h.identity.Name, "unknown"), e.Subject, err)
		return
	}
	b.reply(e, r, wire.Caller{Identity: h.identity.Name}, isJSON, nil, err)
}

// allowed holds a request against the pace of its identity, the size and the right.
func (b *Bus) allowed(e *wire.EndpointInfo, r micro.Request, h *home) error {
	size := len(r.Data())
	if !h.identity.Admin() {
		if err := h.pace.take(size); err != nil {
			return err
		}
	}
	if size > e.MaxBytes() {
		return wire.Errorf(wire.CodeTooLarge, "the request has %d bytes; %s takes at most %d", size, e.Subject, e.MaxBytes())
	}
	_, subject := cameFrom(r.Subject())
	return h.identity.Check(fillRight(e, subject))
}

// fillRight names the right that a request on that subject needs.
func fillRight(e *wire.EndpointInfo, subject string) string {
	if !strings.Contains(e.Right, "<") {
		return e.Right
	}
	right := e.Right
	got := strings.Split(subject, ".")
	for i, token := range strings.Split(e.Subject, ".") {
		if strings.HasPrefix(token, "<") && i < len(got) {
			right = strings.ReplaceAll(right, token, got[i])
		}
	}
	return right
}

// guarded turns a panic into a fault of the daemon's.
func (b *Bus) guarded(e *wire.EndpointInfo, f func() (any, error)) (result any, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			b.log.Error("request panics", "subject", e.Subject, "panic", fault, "stack", string(debug.Stack()))
			result, err = nil, wire.Errorf(wire.CodeInternal, "a fault in the daemon; its log has more")
		}
	}()
	return f()
}

// reply sends the answer in the form of the request. One that does not fit into a message is an error.
func (b *Bus) reply(e *wire.EndpointInfo, r micro.Request, caller wire.Caller, isJSON bool, result any, err error) {
	var data []byte
	if err == nil {
		data, err = encode(result, isJSON)
	}
	if err == nil && len(data) > maxAnswer {
		err = wire.Errorf(wire.CodeTooLarge, "the answer would have %d bytes; a message has at most %d", len(data), maxAnswer)
	}
	var fault *wire.Error
	if err != nil {
		fault = wire.AsError(err)
		b.note(caller.Identity, e.Subject, fault)
		data, _ = encode(fault, isJSON) // an error can be encoded
	}
	if err := b.respond(e, r, isJSON, data, fault); err != nil && b.ctx.Err() == nil {
		b.log.Warn("answer not sent", "subject", e.Subject, "error", err)
	}
}

// maxAnswer leaves room for the headers of an answer.
const maxAnswer = wire.MaxPayload - 4096

// respond sends an answer, through the micro service so that it counts errors. Those that were served aside are
// answered past it: the service looks at a request for the last time when its handler has returned.
func (b *Bus) respond(e *wire.EndpointInfo, r micro.Request, isJSON bool, data []byte, fault *wire.Error) error {
	b.catchUp()
	answer := &nats.Msg{Subject: r.Reply(), Data: data}
	if isJSON {
		answer.Header = nats.Header{wire.HeaderContentType: []string{wire.ContentJSON}}
	}
	if fault == nil {
		return b.own.PublishMsg(answer)
	}
	code, text := strconv.Itoa(int(fault.Code)), wire.OneLine(fault.Message)
	if !e.Aside {
		return r.Error(code, text, data, micro.WithHeaders(micro.Headers(answer.Header)))
	}
	if answer.Header == nil {
		answer.Header = nats.Header{}
	}
	answer.Header[wire.HeaderErrorCode], answer.Header[wire.HeaderError] = []string{code}, []string{text}
	return b.own.PublishMsg(answer)
}

func decode(data []byte, isJSON bool, v any) error {
	if isJSON {
		return wire.DecodeJSON(data, v)
	}
	return wire.Decode(data, v)
}

func encode(v any, isJSON bool) ([]byte, error) {
	if isJSON {
		return wire.EncodeJSON(v)
	}
	return wire.Encode(v)
}
