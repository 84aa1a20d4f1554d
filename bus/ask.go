package bus

import (
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"muster/wire"
)

const (
	askPrefix    = "ask."           // the daemon's way into the accounts of identities
	lateWindow   = 70 * time.Second // in which an answer to a question may come; above the longest timeout
	maxQuestions = 16384            // open at the same time
)

// ErrGone says that nobody is there to ask, or that the connection that was asked has closed.
var ErrGone = errors.New("not connected")

// Peer is a participant as the daemon reaches it.
type Peer struct {
	Identity string
	Conn     uint64 // 0: whoever of the identity is subscribed
	Subject  string // under sys.notify., sys.call., sys.done. or _INBOX.
	Format   wire.Format
}

// questions are those that are open, behind one subscription for all of their answers.
type questions struct {
	inbox string // + a token

	mu     sync.Mutex
	last   uint64
	open   map[string]*question
	byConn map[uint64]map[string]*question
}

type question struct {
	conn   uint64
	answer func(data []byte, err error)
}

// listen subscribes to the answers.
func (b *Bus) listen() error {
	b.questions.inbox = nats.NewInbox() + "."
	b.questions.open = map[string]*question{}
	b.questions.byConn = map[uint64]map[string]*question{}
	_, err := b.own.Subscribe(b.questions.inbox+"*", func(m *nats.Msg) {
		if q := b.questions.find(m.Subject[len(b.questions.inbox):]); q != nil {
			if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
				q.answer(nil, ErrGone)
				return
			}
			q.answer(m.Data, refusal(m))
		}
	})
	return err
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
// called no more. An answer later than 70 s does not come through.
func (b *Bus) Ask(to Peer, payload []byte, answer func(data []byte, err error)) (forget func()) {
	subject, ok := b.reach(to)
	if !ok {
		answer(nil, ErrGone)
		return func() {}
	}
	token, ok := b.questions.add(&question{conn: to.Conn, answer: answer})
	if !ok {
		answer(nil, wire.Errorf(wire.CodeTooMany, "%d questions are open", maxQuestions))
		return func() {}
	}
	forget = func() { b.questions.drop(token, to.Conn) }
	b.traceQuestion(to)
	m := &nats.Msg{Subject: subject, Reply: b.questions.inbox + token, Data: payload, Header: header(to.Format)}
	if err := b.own.PublishMsg(m); err != nil {
		answer(nil, err)
	} else if to.Conn != 0 && !b.Alive(to.Conn) {
		answer(nil, ErrGone) // it closed before the question was among the open ones
	}
	return forget
}

// Deliver sends a message to a participant that is not asked anything.
func (b *Bus) Deliver(to Peer, v any) error {
	subject, ok := b.reach(to)
	if !ok {
		return ErrGone
	}
	data, err := encode(v, to.Format == wire.FormatJSON)
	if err != nil {
		return err
	}
	return b.own.PublishMsg(&nats.Msg{Subject: subject, Data: data, Header: header(to.Format)})
}

func header(f wire.Format) nats.Header {
	if f == wire.FormatJSON {
		return nats.Header{wire.HeaderContentType: []string{wire.ContentJSON}}
	}
	return nil
}

// reach gives the subject by which the daemon reaches one of an identity's.
func (b *Bus) reach(to Peer) (string, bool) {
	account, ok := b.auth.accountOf(to.Identity)
	if !ok {
		return "", false
	}
	prefix := askPrefix + account + "."
	if rest, ok := strings.CutPrefix(to.Subject, wire.InboxPrefix); ok {
		return prefix + "inbox." + rest, true
	}
	rest, ok := strings.CutPrefix(to.Subject, "sys.")
	return prefix + rest, ok
}

func (q *questions) add(one *question) (string, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.open) >= maxQuestions {
		return "", false
	}
	q.last++
	token := strconv.FormatUint(q.last, 36)
	q.open[token] = one
	if one.conn != 0 {
		if q.byConn[one.conn] == nil {
			q.byConn[one.conn] = map[string]*question{}
		}
		q.byConn[one.conn][token] = one
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
