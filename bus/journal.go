package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"muster/wire"
)

// journal sends the daemon's events and sees to it that the kept ones are stored.
//
// Everybody who listens gets an event at once and in order; the stream takes it from the same message and
// acknowledges behind. What is not acknowledged is sent again under the same message id on a subject that only the
// stream listens to. An event is given up, and counted as missed, when a later one of its subject is stored already,
// so that the last message of a subject stays the truth.
type journal struct {
	acks string // inbox + seq

	mu      sync.Mutex
	seq     uint64
	pending map[uint64]*kept
	stored  map[string]uint64 // the newest stored seq, by subject
	missed  uint64
	failing bool
	retry   *time.Timer
	closed  bool
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
	maxPendings = 8192             // events that wait to be stored; more are missed
	maxEvents   = 64 << 20         // bytes of kept events
	maxPerTopic = 10000            // messages of one subject
	closeBudget = 2 * time.Second  // for the last acknowledgements
	setupBudget = 10 * time.Second // to make a stream
)

func (b *Bus) openJournal() error {
	ctx, cancel := context.WithTimeout(b.ctx, setupBudget)
	defer cancel()
	var subjects []string
	for _, e := range wire.Events() {
		if e.Kept {
			subjects = append(subjects, e.Pattern())
		}
	}
	_, err := b.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: wire.EventsStream, Description: "the kept events of this device",
		Subjects: append(subjects, againPrefix+">"), Storage: jetstream.FileStorage, Discard: jetstream.DiscardOld,
		MaxBytes: maxEvents, MaxMsgsPerSubject: maxPerTopic, Duplicates: 2 * time.Minute, AllowDirect: true,
		SubjectTransform: &jetstream.SubjectTransformConfig{Source: againPrefix + ">", Destination: ">"},
	})
	if err != nil {
		return fmt.Errorf("make the stream %s: %w", wire.EventsStream, err)
	}
	j := &b.journal
	j.pending, j.stored = map[uint64]*kept{}, map[string]uint64{}
	j.acks = nats.NewInbox() + "."
	_, err = b.own.Subscribe(j.acks+"*", func(m *nats.Msg) {
		seq, err := strconv.ParseUint(m.Subject[len(j.acks):], 10, 64)
		if err == nil {
			b.acknowledged(seq, m)
		}
	})
	return err
}

// Keep sends an event that is also stored, stamped with the next number. It does not wait for the store.
func (b *Bus) Keep(subject string, event wire.Stamped) wire.Stamp {
	j := &b.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	j.seq++
	stamp := b.stamp(j.seq)
	event.SetStamp(stamp)
	data, err := wire.Encode(event)
	if err != nil {
		b.log.Error("event not encoded", "subject", subject, "error", err)
		return stamp
	}
	k := &kept{seq: j.seq, subject: subject, data: data, sent: time.Now()}
	if err := b.send(k, subject); err != nil || len(j.pending) >= maxPendings {
		j.missed++
		return stamp
	}
	j.pending[k.seq] = k
	if j.retry == nil && !j.closed {
		j.retry = time.AfterFunc(retryEvery, b.resend)
	}
	return stamp
}

// send publishes a kept event, its acknowledgement asked for.
func (b *Bus) send(k *kept, subject string) error {
	return b.own.PublishMsg(&nats.Msg{
		Subject: subject, Reply: b.journal.acks + strconv.FormatUint(k.seq, 10), Data: k.data,
		Header: nats.Header{nats.MsgIdHdr: []string{b.opts.Boot + "." + strconv.FormatUint(k.seq, 10)}},
	})
}

// Tell sends an event that is not kept. An event that cannot be sent is lost, as one that nobody listens to is.
func (b *Bus) Tell(subject string, event wire.Stamped) {
	event.SetStamp(b.stamp(0))
	data, err := wire.Encode(event)
	if err == nil {
		err = b.own.Publish(subject, data)
	}
	if err != nil && b.ctx.Err() == nil {
		b.log.Error("event not sent", "subject", subject, "error", err)
	}
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

// Health says whether the kept events are stored.
func (b *Bus) Health() wire.StoreHealth {
	b.journal.mu.Lock()
	defer b.journal.mu.Unlock()
	return wire.StoreHealth{OK: !b.journal.failing, Missed: b.journal.missed}
}

// acknowledged takes the store's word on an event.
func (b *Bus) acknowledged(seq uint64, m *nats.Msg) {
	var ack struct {
		Error *struct {
			Description string `json:"description"`
		} `json:"error"`
	}
	err := json.Unmarshal(m.Data, &ack)
	if err == nil && ack.Error != nil {
		err = errors.New(ack.Error.Description)
	}
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
		return
	}
	delete(j.pending, seq)
	j.stored[k.subject] = max(j.stored[k.subject], seq)
	if j.failing && len(j.pending) == 0 {
		j.failing = false
		b.log.Info("events are stored again", "missed", j.missed)
	}
}

// resend tries what was not acknowledged again, oldest first, and gives up what has been overtaken.
func (b *Bus) resend() {
	j := &b.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	j.retry = nil
	if j.closed || len(j.pending) == 0 {
		return
	}
	oldest := j.seq
	for seq := range j.pending {
		oldest = min(oldest, seq)
	}
	for seq := oldest; seq <= j.seq; seq++ {
		k := j.pending[seq]
		switch {
		case k == nil || time.Since(k.sent) < ackBudget && !j.failing:
		case j.stored[k.subject] > seq:
			delete(j.pending, seq)
			j.missed++
		default:
			j.failing = true
			k.sent = time.Now()
			if err := b.send(k, againPrefix+k.subject); err != nil {
				b.log.Warn("event not sent again", "subject", k.subject, "error", err)
			}
		}
	}
	j.retry = time.AfterFunc(retryEvery, b.resend)
}

// closeJournal waits a little for the last acknowledgements.
func (b *Bus) closeJournal() {
	j := &b.journal
	deadline := time.Now().Add(closeBudget)
	for time.Now().Before(deadline) && b.own != nil {
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
