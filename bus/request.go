package bus

import (
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"muster/wire"
)

// request is one that came in: at which endpoint, from whom, in which form.
type request struct {
	micro.Request
	bus      *Bus
	endpoint *wire.EndpointInfo
	subject  string // as the client wrote it
	format   wire.Format
	home     home
	caller   wire.Caller
	began    time.Time
	traced   bool
}

// answering is what an endpoint does with a request.
type answering func(*request) (any, error)

// maxAnswer leaves room for the headers of an answer.
const maxAnswer = wire.MaxPayload - 4096

// serve does for one request what is the same for all. One that may take a while is carried out on a goroutine of its
// own.
func (b *Bus) serve(e *wire.EndpointInfo, came micro.Request, answer answering) {
	r := &request{Request: came, bus: b, endpoint: e, began: time.Now()}
	_, r.subject = cameFrom(came.Subject())
	r.format = wire.FormatOf(came.Headers().Get(wire.HeaderContentType))
	var err error
	r.home, err = b.sender(came.Subject())
	r.caller.Identity = r.home.identity.Name
	if err == nil && e.Changes {
		r.caller.Conn, err = b.conn(r.home.identity, nats.Header(came.Headers()).Get(originHeader))
	}
	if err != nil || !r.answerable() {
		r.unheard(err)
		return
	}
	if r.traced = b.traced(); r.traced {
		b.traceRequest(r)
	}
	if !e.Aside {
		r.carryOut(answer)
		return
	}
	if err := b.waiting.enter(r.caller); err != nil {
		r.done(nil, err)
		return
	}
	go func() {
		defer b.waiting.leave(r.caller)
		r.carryOut(answer)
	}()
}

// answerable reports whether a request says where its answer is to go, and that is an inbox, or needs none.
func (r *request) answerable() bool {
	reply := r.Reply()
	if reply == "" {
		return r.endpoint == wire.LoopBook.EndpointInfo
	}
	return strings.HasPrefix(reply, wire.InboxPrefix) || strings.HasPrefix(reply, wire.ServiceInboxRoot)
}

// unheard counts a request that is not carried out because nothing sure is known of who asks, or because its answer has
// nowhere to go. Whoever can be told is.
func (r *request) unheard(err error) {
	switch {
	case err == nil:
		r.bus.note(r.caller.Identity, r.endpoint.Subject, wire.Malformed("reply subject is no inbox"))
	case r.caller.Identity == "":
		r.bus.note("unknown", r.endpoint.Subject, err)
	case r.Reply() == "" || !r.answerable():
		r.bus.note(r.caller.Identity, r.endpoint.Subject, err)
	default:
		r.reply(nil, err)
	}
}

// carryOut has a request answered, if it may be.
func (r *request) carryOut(answer answering) {
	var result any
	err := r.allowed()
	if err == nil {
		result, err = r.guarded(answer)
	}
	r.done(result, err)
}

// allowed holds a request against the pace of its identity, the size and the right.
func (r *request) allowed() error {
	size := len(r.Data())
	if !r.home.identity.Admin() {
		if err := r.home.pace.take(size); err != nil {
			return err
		}
	}
	if most := r.endpoint.MaxBytes(); size > most {
		return wire.Errorf(wire.CodeTooLarge, "the request has %d bytes; %s takes at most %d", size, r.endpoint.Subject, most)
	}
	return r.home.identity.Check(r.right())
}

// right names the right that the request needs.
func (r *request) right() string {
	right := r.endpoint.Right
	if !strings.Contains(right, "<") {
		return right
	}
	got := strings.Split(r.subject, ".")
	for i, token := range strings.Split(r.endpoint.Subject, ".") {
		if strings.HasPrefix(token, "<") && i < len(got) {
			right = strings.ReplaceAll(right, token, got[i])
		}
	}
	return right
}

// guarded turns a panic into a fault of the daemon's.
func (r *request) guarded(answer answering) (result any, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			r.bus.log.Error("request panics", "subject", r.endpoint.Subject, "panic", fault, "stack", string(debug.Stack()))
			result, err = nil, wire.Errorf(wire.CodeInternal, "a fault in the daemon; its log has more")
		}
	}()
	return answer(r)
}

// done traces and sends the answer.
func (r *request) done(result any, err error) {
	if r.traced {
		r.bus.traceAnswer(r, result, err)
	}
	switch {
	case r.Reply() != "":
		r.reply(result, err)
	case err != nil:
		r.bus.note(r.caller.Identity, r.endpoint.Subject, err)
	}
}

// reply sends the answer in the form of the request. One that does not fit into a message is an error.
func (r *request) reply(result any, err error) {
	var data []byte
	if err == nil {
		data, err = r.format.Encode(result)
	}
	if err == nil && len(data) > maxAnswer {
		err = wire.Errorf(wire.CodeTooLarge, "the answer would have %d bytes; a message has at most %d", len(data), maxAnswer)
	}
	var fault *wire.Error
	if err != nil {
		fault = wire.AsError(err)
		r.bus.note(r.caller.Identity, r.endpoint.Subject, fault)
		data, _ = r.format.Encode(fault) // an error can be encoded
	}
	if err := r.respond(data, fault); err != nil && r.bus.ctx.Err() == nil {
		r.bus.log.Warn("answer not sent", "subject", r.endpoint.Subject, "error", err)
	}
}

// respond sends an answer, through the micro service so that it counts errors. Those that were served aside are
// answered past it: the service looks at a request for the last time when its handler has returned.
func (r *request) respond(data []byte, fault *wire.Error) error {
	r.bus.catchUp()
	answer := &nats.Msg{Subject: r.Reply(), Data: data, Header: header(r.format)}
	if fault == nil {
		return r.bus.own.PublishMsg(answer)
	}
	code, text := strconv.Itoa(int(fault.Code)), wire.OneLine(fault.Message)
	if !r.endpoint.Aside {
		return r.Error(code, text, data, micro.WithHeaders(micro.Headers(answer.Header)))
	}
	if answer.Header == nil {
		answer.Header = nats.Header{}
	}
	answer.Header[wire.HeaderErrorCode], answer.Header[wire.HeaderError] = []string{code}, []string{text}
	return r.bus.own.PublishMsg(answer)
}
