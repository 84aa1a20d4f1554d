package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"muster/wire"
)

// journal sends the daemon's events and sees to it that the kept ones are stored.
//
// Whoever keeps an event waits for nothing: it goes out behind, in order, and before whatever the daemon sends next (an
// answer, a question, a call). Everybody who listens gets it; the stream takes it from the same message and
// acknowledges it. What is not acknowledged is sent again under the same message id on a subject that only the
// stream listens to, the events of one subject one after the other, each on the condition that nothing newer of it is
// stored. So the last message of a subject is always the truth. An event that was overtaken is given up.
type journal struct {
	acks  string        // inbox + seq
	first chan struct{} // closed when the first event is stored
	bell  chan struct{} // rung when there is something to send

	sending sync.Mutex // held while events go out; taken before mu

	mu      sync.Mutex
	seq     uint64
	unsent  []*kept // in order
	pending map[uint64]*kept
	topics  map[string]*topic
	missed  uint64 // given up
	any     bool   // was stored
	state   *kept  // the newest state that is stored
	since   int64  // bytes that were stored after it
	again   uint64 // how often a state was stored once more
	failing bool
	retry   *time.Timer
	closed  bool
}

// topic is one subject of kept events.
type topic struct {
	waiting []*kept // oldest first
	stored  uint64  // seq of its newest event that is stored
	last    uint64  // number of its last message in the stream, once it is known
	known   bool
}

// kept is an event whose acknowledgement is awaited.
type kept struct {
	seq     uint64
	subject string
	data    []byte
	sent    time.Time
}

const (
	againPrefix = "muster.again."  // + the subject: for the stream alone
	retryEvery  = time.Second      // to look for what was not acknowledged
	ackBudget   = 5 * time.Second  // for an acknowledgement before it counts as lost
	maxPendings = 8192             // events that wait to be stored; older ones of a subject are given up for newer ones
	maxUnsent   = 1024             // events that wait to be sent; who keeps more than that sends them
	maxPerTopic = 10000            // messages of one subject
	messageHead = 128              // bytes that a message takes in the stream besides, about
	firstBudget = time.Second      // for the acknowledgement of the first event before anybody is let in
	closeBudget = 2 * time.Second  // for the last acknowledgements
	setupBudget = 10 * time.Second // to make a stream
)

func (b *Bus) openJournal() error {
	j := &b.journal
	j.pending, j.topics = map[uint64]*kept{}, map[string]*topic{}
	j.acks, j.first, j.bell = nats.NewInbox()+".", make(chan struct{}), make(chan struct{}, 1)
	b.working.Go(b.sendEvents)
	_, err := b.own.Subscribe(j.acks+"*", func(m *nats.Msg) {
		seq, err := strconv.ParseUint(m.Subject[len(j.acks):], 10, 64)
		if err == nil {
			b.acknowledged(seq, m)
		}
	})
	if err != nil {
		return err
	}
	err = b.makeEvents()
	if err != nil && b.store.fault() != nil {
		return nil // it is made once the store is mended
	}
	return err
}

// makeEvents makes the stream of the kept events.
func (b *Bus) makeEvents() error {
	ctx, cancel := context.WithTimeout(b.ctx, setupBudget)
	defer cancel()
	subjects := []string{againPrefix + ">"}
	for _, e := range wire.Events() {
		if e.Kept {
			subjects = append(subjects, e.Pattern())
		}
	}
	_, err := b.makeStream(ctx, jetstream.StreamConfig{
		Name: wire.EventsStream, Description: "the kept events of this device",
		Subjects: subjects, Storage: jetstream.FileStorage, Discard: jetstream.DiscardOld,
		MaxBytes: b.store.share(), MaxMsgsPerSubject: maxPerTopic, Duplicates: 2 * time.Minute, AllowDirect: true,
		SubjectTransform: &jetstream.SubjectTransformConfig{Source: againPrefix + ">", Destination: ">"},
	})
	return err
}

// Keep sends an event that is also stored, stamped with the next number. It waits neither for the store nor, as long as
// few events are to be sent, for the connection.
func (b *Bus) Keep(subject string, event wire.Stamped) wire.Stamp {
	stamp, unsent := b.enqueue(subject, event)
	if unsent > maxUnsent {
		b.catchUp()
	}
	select {
	case b.journal.bell <- struct{}{}:
	default:
	}
	return stamp
}

// enqueue stamps an event and puts it behind those that are to be sent, whose number it gives.
func (b *Bus) enqueue(subject string, event wire.Stamped) (stamp wire.Stamp, unsent int) {
	j := &b.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	j.seq++
	stamp = b.stamp(j.seq)
	event.SetStamp(stamp)
	data, err := wire.Encode(event)
	if err != nil {
		b.log.Error("event not encoded", "subject", subject, "error", err)
		j.missed++
		return stamp, len(j.unsent)
	}
	k := &kept{seq: j.seq, subject: subject, data: data, sent: time.Now()}
	j.await(k)
	j.unsent = append(j.unsent, k)
	if j.retry == nil && !j.closed {
		j.retry = time.AfterFunc(retryEvery, b.resend)
	}
	return stamp, len(j.unsent)
}

// sendEvents sends what is kept until the bus closes.
func (b *Bus) sendEvents() {
	for {
		select {
		case <-b.ctx.Done():
			return
		case <-b.journal.bell:
			b.catchUp()
		}
	}
}

// catchUp returns when every event that was kept so far has been sent, so that what is sent next comes behind it.
func (b *Bus) catchUp() {
	j := &b.journal
	j.sending.Lock()
	defer j.sending.Unlock()
	j.mu.Lock()
	unsent := j.unsent
	j.unsent = nil
	j.mu.Unlock()
	for _, k := range unsent {
		if err := b.send(k, k.subject, nil); err != nil && b.ctx.Err() == nil {
			b.log.Error("event not sent", "subject", k.subject, "error", err)
		}
	}
}

// await notes an event whose acknowledgement is to come. When there are too many, the oldest of the subject that has
// most of them is given up.
func (j *journal) await(k *kept) {
	t := j.topics[k.subject]
	if t == nil {
		t = &topic{}
		j.topics[k.subject] = t
	}
	t.waiting = append(t.waiting, k)
	j.pending[k.seq] = k
	if len(j.pending) <= maxPendings {
		return
	}
	for _, other := range j.topics {
		if len(other.waiting) > len(t.waiting) {
			t = other
		}
	}
	j.drop(t.waiting[0])
	j.missed++
}

// drop awaits an event no longer.
func (j *journal) drop(k *kept) {
	delete(j.pending, k.seq)
	t := j.topics[k.subject]
	if t.waiting[0] == k { // as almost always
		t.waiting = t.waiting[1:]
		return
	}
	t.waiting = slices.DeleteFunc(t.waiting, func(other *kept) bool { return other == k })
}

// send publishes a kept event, its acknowledgement asked for.
func (b *Bus) send(k *kept, subject string, onlyAfter *uint64) error {
	m := &nats.Msg{
		Subject: subject, Reply: b.journal.acks + strconv.FormatUint(k.seq, 10), Data: k.data,
		Header: nats.Header{nats.MsgIdHdr: []string{b.opts.Boot + "." + strconv.FormatUint(k.seq, 10)}},
	}
	if onlyAfter != nil {
		m.Header[nats.ExpectedLastSubjSeqHdr] = []string{strconv.FormatUint(*onlyAfter, 10)}
	}
	return b.own.PublishMsg(m)
}

// Tell sends an event that is not kept. An event that cannot be sent is lost, as one that nobody listens to is.
func (b *Bus) Tell(subject string, event wire.Stamped) { b.tell(subject, event) }

// tell gives how many bytes went out.
func (b *Bus) tell(subject string, event wire.Stamped) int {
	event.SetStamp(b.stamp(0))
	data, err := wire.Encode(event)
	if err == nil {
		b.catchUp()
		err = b.own.Publish(confidential(subject), data)
	}
	if err != nil && b.ctx.Err() == nil {
		b.log.Error("event not sent", "subject", subject, "error", err)
	}
	return len(data)
}

func (b *Bus) stamp(seq uint64) wire.Stamp {
	at, mono := b.opts.Clock.Now()
	return wire.Stamp{Boot: b.opts.Boot, At: at, Mono: mono, Seq: seq}
}

// Seq is the number of the last kept event.
func (b *Bus) Seq() uint64 {
	b.journal.mu.Lock()
	defer b.journal.mu.Unlock()
	return b.journal.seq
}

// Health says whether the kept events are stored, and how many are not.
func (b *Bus) Health() wire.StoreHealth {
	j := &b.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	h := wire.StoreHealth{OK: !j.failing, Missed: j.missed}
	if j.failing {
		h.Missed += uint64(len(j.pending))
	}
	return h
}

// acknowledged takes the store's word on an event.
func (b *Bus) acknowledged(seq uint64, m *nats.Msg) {
	last, err := readAck(m)
	j := &b.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	k := j.pending[seq]
	if k == nil {
		return
	}
	if err != nil {
		if !j.failing {
			b.log.Error("event not stored; it will be tried again", "subject", k.subject, "error", err)
		}
		j.failing = true
		j.topics[k.subject].known = false // what is last there may be something else than we think
		return
	}
	j.drop(k)
	t := j.topics[k.subject]
	t.stored, t.last, t.known = max(t.stored, seq), max(t.last, last), true
	if !j.any {
		j.any = true
		close(j.first)
	}
	b.keepStateLocked(k)
	if j.failing && len(t.waiting) > 0 {
		b.sendAgain(t)
	}
	b.recoveredLocked()
}

// keepStateLocked stores the state once more when, since it was, half of what the stream holds has been: a system that is
// held for long has much to tell of its transition, and none of its state, which would fall out of the stream.
func (b *Bus) keepStateLocked(stored *kept) {
	j := &b.journal
	if stored.subject == wire.StateSubject {
		j.state, j.since = stored, 0
		return
	}
	j.since += int64(len(stored.data) + len(stored.subject) + messageHead)
	if j.state == nil || j.since < b.store.share()/2 || len(j.topics[wire.StateSubject].waiting) > 0 {
		return // in the last case a newer one is on its way
	}
	j.since = 0
	j.again++
	m := &nats.Msg{Subject: againPrefix + wire.StateSubject, Data: j.state.data, Header: nats.Header{
		nats.MsgIdHdr: []string{fmt.Sprintf("%s.%d.%d", b.opts.Boot, j.state.seq, j.again)},
	}}
	if err := b.own.PublishMsg(m); err != nil && b.ctx.Err() == nil {
		b.log.Warn("state not stored once more", "error", err)
	}
	j.topics[wire.StateSubject].known = false // its last message is another one
}

// recoveredLocked notes that nothing waits for the store any more, if that is so.
func (b *Bus) recoveredLocked() {
	if j := &b.journal; j.failing && len(j.pending) == 0 && b.store.fault() == nil {
		j.failing = false
		b.log.Info("events are stored again", "missed", j.missed)
	}
}

// readAck gives the number that the stream gave an event, or why it did not take it.
func readAck(m *nats.Msg) (uint64, error) {
	var ack struct {
		Seq   uint64 `json:"seq"`
		Error *struct {
			Description string `json:"description"`
		} `json:"error"`
	}
	if len(m.Data) == 0 {
		return 0, jetstream.ErrNoStreamResponse
	}
	err := json.Unmarshal(m.Data, &ack)
	if err == nil && ack.Error != nil {
		err = errors.New(ack.Error.Description)
	}
	return ack.Seq, err
}

// storeFailed counts what waits for the store as missed, for the time being.
func (b *Bus) storeFailed() {
	b.journal.mu.Lock()
	defer b.journal.mu.Unlock()
	b.journal.failing = true
}

// resend tries what was not acknowledged again.
func (b *Bus) resend() {
	b.findLast()
	j := &b.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.retry != nil {
		j.retry.Stop()
		j.retry = nil
	}
	b.recoveredLocked()
	if j.closed || len(j.pending) == 0 {
		return
	}
	for _, t := range j.topics {
		if len(t.waiting) > 0 && (j.failing || time.Since(t.waiting[0].sent) >= ackBudget) {
			j.failing = true
			b.sendAgain(t)
		}
	}
	j.retry = time.AfterFunc(retryEvery, b.resend)
}

// sendAgain sends the oldest event of a subject that waits, unless it was overtaken: on the condition that nothing
// newer is stored.
func (b *Bus) sendAgain(t *topic) {
	for len(t.waiting) > 0 && t.waiting[0].seq < t.stored {
		b.journal.drop(t.waiting[0])
		b.journal.missed++
	}
	if len(t.waiting) == 0 || !t.known || b.store.fault() != nil {
		return
	}
	k := t.waiting[0]
	k.sent = time.Now()
	if err := b.send(k, againPrefix+k.subject, &t.last); err != nil && b.ctx.Err() == nil {
		b.log.Warn("event not sent again", "subject", k.subject, "error", err)
	}
}

// findLast asks the stream for the last message of the subjects of which nothing was stored in this boot. A stream
// that somebody has removed is made anew.
func (b *Bus) findLast() {
	var unknown []string
	b.journal.mu.Lock()
	for subject, t := range b.journal.topics {
		if b.journal.failing && len(t.waiting) > 0 && !t.known {
			unknown = append(unknown, subject)
		}
	}
	failing := b.journal.failing
	b.journal.mu.Unlock()
	if !failing || b.store.fault() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(b.ctx, setupBudget)
	defer cancel()
	stream, err := b.js.Stream(ctx, wire.EventsStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		b.remakeEvents()
		return
	}
	for _, subject := range unknown {
		if err != nil {
			return // it is tried again
		}
		var last *jetstream.RawStreamMsg
		if last, err = stream.GetLastMsgForSubject(ctx, subject); errors.Is(err, jetstream.ErrMsgNotFound) {
			last, err = &jetstream.RawStreamMsg{}, nil
		}
		if err == nil {
			b.foundLast(subject, last)
		}
	}
}

// foundLast notes which message of a subject is its last in the stream.
func (b *Bus) foundLast(subject string, last *jetstream.RawStreamMsg) {
	b.journal.mu.Lock()
	defer b.journal.mu.Unlock()
	t := b.journal.topics[subject]
	if t.known { // an acknowledgement has told more
		return
	}
	t.last, t.known = last.Sequence, true
	if text, ours := strings.CutPrefix(last.Header.Get(nats.MsgIdHdr), b.opts.Boot+"."); ours {
		seq, _ := strconv.ParseUint(text, 10, 64) // 0 is older than any
		t.stored = max(t.stored, seq)
	}
}

// remakeEvents makes the stream anew after somebody has removed it. Whatever was last in it is so no longer.
func (b *Bus) remakeEvents() {
	b.log.Warn("the stream of events was removed; it is made anew", "stream", wire.EventsStream)
	if err := b.makeEvents(); err != nil {
		b.log.Error("stream of events not made", "error", err)
		return
	}
	b.journal.mu.Lock()
	defer b.journal.mu.Unlock()
	for _, t := range b.journal.topics {
		t.last, t.known = 0, true
	}
}

// awaitFirst waits until the first event is stored, if there is one and the store takes it in time.
func (b *Bus) awaitFirst() {
	if b.Seq() == 0 {
		return
	}
	deadline := time.NewTimer(firstBudget)
	defer deadline.Stop()
	select {
	case <-b.journal.first:
	case <-b.store.state().Done():
	case <-deadline.C:
	}
}

// closeJournal waits a little for the last acknowledgements.
func (b *Bus) closeJournal() {
	j := &b.journal
	if b.own != nil {
		b.catchUp()
	}
	deadline := time.Now().Add(closeBudget)
	for time.Now().Before(deadline) && b.own != nil && b.store.fault() == nil {
		j.mu.Lock()
		left := len(j.pending)
		j.mu.Unlock()
		if left == 0 || b.own.FlushTimeout(drainBudget) != nil {
			break
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed = true
	if j.retry != nil {
		j.retry.Stop()
	}
}
