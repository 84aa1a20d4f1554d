package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"muster/wire"
)

// HeaderDigest is on every value that the daemon writes to the bucket.
const HeaderDigest = "Muster-Digest"

// The errors of the bucket that are answers.
var (
	ErrNoRecord = errors.New("no record")
	ErrStale    = errors.New("stale revision")
)

// Record is what stands in the bucket under a key.
type Record struct {
	Value    []byte
	Digest   string // "" when another client wrote it
	Revision uint64
	Deleted  bool
}

// Bucket is the key-value bucket of the blobs: raw values that any client of the key-value API reads.
type Bucket struct {
	bus     *Bus
	stream  jetstream.Stream
	kv      jetstream.KeyValue
	subject string // + the key
}

const maxBucket = 64 << 20

// Bucket opens the bucket of the blobs, and makes it if need be.
func (b *Bus) Bucket(ctx context.Context) (*Bucket, error) {
	k := &Bucket{bus: b, subject: "$KV." + wire.BlobsBucket + "."}
	_, err := b.js.KeyValue(ctx, wire.BlobsBucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		_, err = b.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: wire.BlobsBucket, Description: "the blobs of this device", History: 1, MaxBytes: maxBucket,
			MaxValueSize: wire.MaxBlob, Storage: jetstream.FileStorage,
		})
	}
	if err != nil {
		return nil, fmt.Errorf("make the bucket %s: %w", wire.BlobsBucket, err)
	}
	return k, k.open(ctx)
}

func (k *Bucket) open(ctx context.Context) (err error) {
	if k.kv, err = k.bus.js.KeyValue(ctx, wire.BlobsBucket); err == nil {
		k.stream, err = k.bus.js.Stream(ctx, "KV_"+wire.BlobsBucket)
	}
	if err != nil {
		return fmt.Errorf("open the bucket %s: %w", wire.BlobsBucket, err)
	}
	return nil
}

// Reset makes the bucket anew and empty: a damaged store takes no writes over what it cannot read. Revisions go on
// above the one that is given. Nobody may use the bucket meanwhile.
func (k *Bucket) Reset(ctx context.Context, above uint64) error {
	config := k.stream.CachedInfo().Config
	config.FirstSeq = above + 1
	if err := k.bus.js.DeleteStream(ctx, config.Name); err != nil {
		return fmt.Errorf("remove the damaged bucket: %w", err)
	}
	if _, err := k.bus.js.CreateStream(ctx, config); err != nil {
		return fmt.Errorf("make the bucket anew: %w", err)
	}
	return k.open(ctx)
}

// Get gives the last record of a key, a deletion included; [ErrNoRecord] where there never was one.
func (k *Bucket) Get(ctx context.Context, key string) (Record, error) {
	m, err := k.stream.GetLastMsgForSubject(ctx, k.subject+key)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return Record{}, ErrNoRecord
	}
	if err != nil {
		return Record{}, fmt.Errorf("read %s: %w", key, err)
	}
	op := m.Header.Get("KV-Operation")
	return Record{
		Value: m.Data, Digest: m.Header.Get(HeaderDigest), Revision: m.Sequence, Deleted: op == "DEL" || op == "PURGE",
	}, nil
}

// Put writes when the key's last revision is expect, and returns once it is on disk. Otherwise it is [ErrStale]; a
// full store is 507.
func (k *Bucket) Put(ctx context.Context, key string, value []byte, digest string, expect uint64) (uint64, error) {
	m := &nats.Msg{Subject: k.subject + key, Data: value, Header: nats.Header{HeaderDigest: []string{digest}}}
	ack, err := k.bus.js.PublishMsg(ctx, m, jetstream.WithExpectLastSequencePerSubject(expect))
	if err == nil {
		return ack.Sequence, nil
	}
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		switch {
		case api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence:
			return 0, ErrStale
		case strings.Contains(api.Description, "maximum bytes") || strings.Contains(api.Description, "resource"):
			return 0, wire.Errorf(wire.CodeStoreFull, "the store is full: %s", api.Description)
		}
	}
	return 0, fmt.Errorf("write %s: %w", key, err)
}

// Keys lists the keys that the bucket knows, deleted ones included.
func (k *Bucket) Keys(ctx context.Context) ([]string, error) {
	info, err := k.stream.Info(ctx, jetstream.WithSubjectFilter(k.subject+">"))
	if err != nil {
		return nil, fmt.Errorf("list the bucket: %w", err)
	}
	var keys []string
	for subject := range info.State.Subjects {
		keys = append(keys, strings.TrimPrefix(subject, k.subject))
	}
	return keys, nil
}

// LastRevision is that of the newest write to any key.
func (k *Bucket) LastRevision(ctx context.Context) (uint64, error) {
	info, err := k.stream.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("read the bucket: %w", err)
	}
	return info.State.LastSeq, nil
}

// Watch tells every key that is written from now on, by whomever, until ctx is done.
func (k *Bucket) Watch(ctx context.Context, changed func(key string)) error {
	w, err := k.kv.WatchAll(ctx, jetstream.UpdatesOnly(), jetstream.MetaOnly())
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("watch the bucket: %w", err)
	}
	if err != nil {
		return nil // it was over before it began
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-w.Updates():
			if !ok {
				return nil
			}
			if e != nil {
				changed(e.Key())
			}
		}
	}
}

// Queue keeps durable bookings: a work-queue stream on a subject that no account but the daemon's reaches.
type Queue struct {
	bus    *Bus
	stream jetstream.Stream
	seqs   map[string]uint64
	lock   chan struct{} // holds one token; guards seqs
}

const (
	queueStream  = "SYS_LOOP"
	queueSubject = "muster.loop."
	maxQueue     = 64 << 20
)

// Queue opens the queue, and makes it if need be.
func (b *Bus) Queue(ctx context.Context) (*Queue, error) {
	stream, err := b.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: queueStream, Description: "durable bookings of the event loops", Subjects: []string{queueSubject + ">"},
		Retention: jetstream.WorkQueuePolicy, Storage: jetstream.FileStorage, Discard: jetstream.DiscardNew, MaxBytes: maxQueue,
	})
	if err != nil {
		return nil, fmt.Errorf("make the stream %s: %w", queueStream, err)
	}
	q := &Queue{bus: b, stream: stream, seqs: map[string]uint64{}, lock: make(chan struct{}, 1)}
	q.lock <- struct{}{}
	return q, nil
}

// Put stores data under a key, and returns once it is on disk.
func (q *Queue) Put(ctx context.Context, key string, data []byte) error {
	ack, err := q.bus.js.Publish(ctx, queueSubject+key, data)
	if err != nil {
		return wire.Errorf(wire.CodeStoreFull, "the booking could not be stored: %v", err)
	}
	<-q.lock
	q.seqs[key] = ack.Sequence
	q.lock <- struct{}{}
	return nil
}

// Delete removes what was stored under a key.
func (q *Queue) Delete(key string) error {
	<-q.lock
	seq, ok := q.seqs[key]
	delete(q.seqs, key)
	q.lock <- struct{}{}
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second) // also while the bus is closing
	defer cancel()
	return q.stream.DeleteMsg(ctx, seq)
}

// Load gives everything that is stored, and the keys in the order put.
func (q *Queue) Load(ctx context.Context) (map[string][]byte, []string, error) {
	info, err := q.stream.Info(ctx)
	if err != nil {
		return nil, nil, err
	}
	data, keys := map[string][]byte{}, []string(nil)
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq && info.State.Msgs > 0; seq++ {
		m, err := q.stream.GetMsg(ctx, seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return nil, nil, fmt.Errorf("read booking %d: %w", seq, err)
		}
		key := strings.TrimPrefix(m.Subject, queueSubject)
		<-q.lock
		q.seqs[key] = seq
		q.lock <- struct{}{}
		data[key] = m.Data
		keys = append(keys, key)
	}
	return data, keys, nil
}
