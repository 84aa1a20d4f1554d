package bus

import (
	"errors"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"muster/wire"
)

const maxQuestions = 16384 // open at the same time

// ErrGone says that nobody is there to ask, or that the connection that was asked has closed.
var ErrGone = errors.New("not connected")

// Peer is a participant as the daemon reaches it.
type Peer struct {
	Identity string
	Conn     uint64 // 0: whoever of the identity is subscribed
	Subject  string // under sys.notify., sys.call., sys.done. or _INBOX.
	Format   wire.Format
}

// questions are those that are open. A token, which nobody else can guess, leads from the answer to the question.
type questions struct {
	inbox string // + a token; the same in every seat

	mu     sync.Mutex
	open   map[string]*question
	byConn map[uint64]map[string]*question
}

type question struct {
	to     Peer
	asked  time.Time
	answer func(data []byte, err error)
}

func newQuestions() questions {
	return questions{
		inbox: nats.NewInbox() + ".", open: map[string]*question{}, byConn: map[uint64]map[string]*question{},
	}
}

// hear takes an answer.
func (b *Bus) hear(m *nats.Msg) {
	one := b.questions.find(m.Subject[len(b.questions.inbox):])
	switch {
	case one == nil:
	case len(m.Data) == 0 && m.Header.Get("Status") == "503":
		one.answer(nil, ErrGone)
	default:
		if b.traced() {
			b.traceReply(one, m)
		}
		one.answer(m.Data, refusal(m))
	}
}

// refusal gives the error that an answer says it is.
func refusal(m *nats.Msg) error {
	code := m.Header.Get(wire.HeaderErrorCode)
	if code == "" {
		return nil
	}
	n, err := strconv.Atoi(code)
	if err != nil {
		n = int(wire.CodeInternal)
	}
	return wire.Errorf(wire.Code(n), "%.200s", m.Header.Get(wire.HeaderError))
}

// Ask sends a question to a participant and returns at once. answer is called, from another goroutine, for every
// answer that comes, also a late or a second one: with its bytes; with a [*wire.Error] when the participant answered
// with one; with [ErrGone] when nobody is there, or once the connection closes. It must not block. After forget it is
// called no more.
func (b *Bus) Ask(to Peer, payload []byte, answer func(data []byte, err error)) (forget func()) {
	seat, err := b.seat(to.Identity)
	if err != nil {
		answer(nil, err)
		return func() {}
	}
	token, ok := b.questions.add(&question{to: to, asked: time.Now(), answer: answer})
	if !ok {
		answer(nil, wire.Errorf(wire.CodeTooMany, "%d questions are open", maxQuestions))
		return func() {}
	}
	forget = func() { b.questions.drop(token, to.Conn) }
	b.catchUp()
	if b.traced() {
		b.traceQuestion(to, payload)
	}
	m := &nats.Msg{Subject: to.Subject, Reply: b.questions.inbox + token, Data: payload, Header: header(to.Format)}
	if err := seat.PublishMsg(m); err != nil {
		answer(nil, err)
	} else if to.Conn != 0 && !b.Alive(to.Conn) {
		answer(nil, ErrGone) // it closed before the question was among the open ones
	}
	return forget
}

// Deliver sends a message to a participant that is not asked anything.
func (b *Bus) Deliver(to Peer, v any) error {
	seat, err := b.seat(to.Identity)
	if err != nil {
		return err
	}
	data, err := to.Format.Encode(v)
	if err != nil {
		return err
	}
	b.catchUp()
	return seat.PublishMsg(&nats.Msg{Subject: to.Subject, Data: data, Header: header(to.Format)})
}

// header says in which form a message is.
func header(f wire.Format) nats.Header {
	if kind := f.ContentType(); kind != "" {
		return nats.Header{wire.HeaderContentType: []string{kind}}
	}
	return nil
}

func (q *questions) add(one *question) (string, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.open) >= maxQuestions {
		return "", false
	}
	token := strconv.FormatUint(rand.Uint64(), 36)
	q.open[token] = one
	if one.to.Conn != 0 {
		if q.byConn[one.to.Conn] == nil {
			q.byConn[one.to.Conn] = map[string]*question{}
		}
		q.byConn[one.to.Conn][token] = one
	}
	return token, true
}

func (q *questions) find(token string) *question {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.open[token]
}

func (q *questions) drop(token string, conn uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.open, token)
	if delete(q.byConn[conn], token); len(q.byConn[conn]) == 0 {
		delete(q.byConn, conn)
	}
}

// lose tells the open questions of a connection that it has closed.
func (q *questions) lose(conn uint64) {
	q.mu.Lock()
	var lost []*question
	for _, one := range q.byConn[conn] {
		lost = append(lost, one)
	}
	q.mu.Unlock()
	for _, one := range lost {
		one.answer(nil, ErrGone)
	}
}
