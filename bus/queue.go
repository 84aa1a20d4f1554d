package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
)

// Queue keeps durable bookings: a work-queue stream on a subject that no account but the daemon's reaches.
type Queue struct {
	bus    *Bus
	stream jetstream.Stream

	mu   sync.Mutex
	seqs map[string]uint64 // of what is stored, by key
}

const (
	queueStream  = "SYS_LOOP"
	queueSubject = "muster.loop."
)

// Queue opens the queue, and makes it if need be.
func (b *Bus) Queue(ctx context.Context) (*Queue, error) {
	stream, err := b.makeQueue(ctx)
	return &Queue{bus: b, stream: stream, seqs: map[string]uint64{}}, err
}

func (b *Bus) makeQueue(ctx context.Context) (jetstream.Stream, error) {
	return b.makeStream(ctx, b.queueConfig())
}

func (b *Bus) queueConfig() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: queueStream, Description: "durable bookings of the event loops", Subjects: []string{queueSubject + ">"},
		Retention: jetstream.WorkQueuePolicy, Storage: jetstream.FileStorage, Discard: jetstream.DiscardNew, MaxBytes: b.store.share(),
	}
}

// Put stores data under a key, and returns once it is on disk. A store that is full, or takes no writes for another
// reason, is 507.
func (q *Queue) Put(ctx context.Context, key string, data []byte) error {
	put := func(ctx context.Context) error {
		ack, err := q.bus.js.Publish(ctx, queueSubject+key, data)
		if err == nil {
			q.mu.Lock()
			q.seqs[key] = ack.Sequence
			q.mu.Unlock()
		}
		return err
	}
	err := q.bus.store.write(ctx, put)
	if errors.Is(err, jetstream.ErrNoStreamResponse) {
		q.bus.log.Warn("the stream of durable bookings was removed; it is made anew", "stream", queueStream)
		if _, err := q.bus.makeQueue(ctx); err != nil {
			return err
		}
		err = q.bus.store.write(ctx, put)
	}
	if err != nil {
		return fmt.Errorf("store the booking: %w", err)
	}
	return nil
}

// Delete removes what was stored under a key. What is there no longer is no error.
func (q *Queue) Delete(key string) error {
	q.mu.Lock()
	seq, ok := q.seqs[key]
	delete(q.seqs, key)
	q.mu.Unlock()
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), writeBudget) // also while the bus is closing
	defer cancel()
	err := q.stream.DeleteMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) || errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	return err
}

// Load gives everything that is stored, and the keys in the order put. What stood there and is done costs nothing,
// however much it was.
func (q *Queue) Load(ctx context.Context) (data map[string][]byte, keys []string, err error) {
	data = map[string][]byte{}
	for seq := uint64(1); ; {
		m, err := q.stream.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(queueSubject+">"))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return data, keys, nil
		}
		if err != nil {
			return nil, nil, fmt.Errorf("read the booking after number %d: %w", seq-1, err)
		}
		key := strings.TrimPrefix(m.Subject, queueSubject)
		q.mu.Lock()
		q.seqs[key] = m.Sequence
		q.mu.Unlock()
		data[key] = m.Data
		keys = append(keys, key)
		seq = m.Sequence + 1
	}
}
