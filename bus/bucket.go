package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"muster/wire"
)

// HeaderDigest is on every value that the daemon writes to the bucket.
const HeaderDigest = "Muster-Digest"

// headerRoom is for the headers of a value, which the server counts as a part of it.
const headerRoom = 4096

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
	subject string        // + the key
	newest  atomic.Uint64 // the highest revision seen, so that a bucket made anew goes on above it
}

const bucketStream = "KV_" + wire.BlobsBucket // what the bucket is to the server

// Bucket opens the bucket of the blobs, and makes it if need be.
func (b *Bus) Bucket(ctx context.Context) (*Bucket, error) {
	k := &Bucket{bus: b, subject: "$KV." + wire.BlobsBucket + "."}
	_, err := b.js.KeyValue(ctx, wire.BlobsBucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		err = b.making(ctx, bucketStream, func() error {
			_, err := b.js.CreateKeyValue(ctx, b.bucketConfig())
			return err
		})
	}
	if err := b.store.made("bucket "+wire.BlobsBucket, err); err != nil {
		return nil, err
	}
	return k, k.open(ctx)
}

func (b *Bus) bucketConfig() jetstream.KeyValueConfig {
	return jetstream.KeyValueConfig{
		Bucket: wire.BlobsBucket, Description: "the blobs of this device", History: 1, MaxBytes: b.store.share(),
		MaxValueSize: wire.MaxBlob + headerRoom, Storage: jetstream.FileStorage,
	}
}

func (k *Bucket) open(ctx context.Context) (err error) {
	if k.kv, err = k.bus.js.KeyValue(ctx, wire.BlobsBucket); err == nil {
		k.stream, err = k.bus.js.Stream(ctx, bucketStream)
	}
	if err != nil {
		return fmt.Errorf("open the bucket %s: %w", wire.BlobsBucket, err)
	}
	return nil
}

// Reset makes the bucket anew and empty: a damaged store takes no writes over what it cannot read. Revisions go on
// above the one that is given. Nobody may use the bucket meanwhile.
func (k *Bucket) Reset(ctx context.Context, above uint64) error {
	if err := k.bus.js.DeleteStream(ctx, k.stream.CachedInfo().Config.Name); err != nil {
		return fmt.Errorf("remove the damaged bucket: %w", err)
	}
	if err := k.create(ctx, above); err != nil {
		return err
	}
	return k.open(ctx)
}

// create makes the bucket as it was.
func (k *Bucket) create(ctx context.Context, above uint64) error {
	config := k.stream.CachedInfo().Config
	config.FirstSeq = above + 1
	err := k.bus.making(ctx, config.Name, func() error {
		_, err := k.bus.js.CreateStream(ctx, config)
		return err
	})
	if err != nil {
		return fmt.Errorf("make the bucket anew: %w", err)
	}
	return nil
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
// store that is full, or takes no writes for another reason, is 507. A bucket that somebody has removed is made anew.
func (k *Bucket) Put(ctx context.Context, key string, value []byte, digest string, expect uint64) (revision uint64, err error) {
	m := &nats.Msg{Subject: k.subject + key, Data: value, Header: nats.Header{HeaderDigest: []string{digest}}}
	put := func(ctx context.Context) error {
		ack, err := k.bus.js.PublishMsg(ctx, m, jetstream.WithExpectLastSequencePerSubject(expect))
		if err == nil {
			revision = ack.Sequence
		}
		return err
	}
	err = k.bus.store.write(ctx, put)
	if errors.Is(err, jetstream.ErrNoStreamResponse) {
		k.bus.log.Warn("the bucket of the blobs was removed; it is made anew", "bucket", wire.BlobsBucket)
		if err := k.create(ctx, k.newest.Load()); err != nil {
			return 0, err
		}
		k.bus.store.renewed()
		err = k.bus.store.write(ctx, put)
	}
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence {
		return 0, ErrStale
	}
	if err != nil {
		return 0, fmt.Errorf("write %s: %w", key, err)
	}
	k.saw(revision)
	return revision, nil
}

// saw notes a revision.
func (k *Bucket) saw(revision uint64) {
	for known := k.newest.Load(); known < revision; known = k.newest.Load() {
		if k.newest.CompareAndSwap(known, revision) {
			return
		}
	}
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
	k.saw(info.State.LastSeq)
	return info.State.LastSeq, nil
}

// Watch tells every key that has a value, or a deletion, and then every one that is written, by whomever, with its
// revision, until ctx is done. When the store was opened anew all keys are told again. changed is called from one
// goroutine; while it is busy, what is written meanwhile waits.
func (k *Bucket) Watch(ctx context.Context, changed func(key string, revision uint64)) {
	for ctx.Err() == nil {
		renewed := k.bus.store.reopened()
		if err := k.watch(ctx, renewed, changed); err != nil && ctx.Err() == nil { // the library ends a watch with ctx too
			k.bus.upset(nil, fmt.Errorf("watch the bucket: %w", err))
			select {
			case <-ctx.Done():
			case <-renewed:
			case <-time.After(retryEvery):
			}
		}
	}
}

// watch watches until ctx is done or the store is another.
func (k *Bucket) watch(ctx context.Context, renewed <-chan struct{}, changed func(key string, revision uint64)) error {
	w, err := k.kv.WatchAll(ctx, jetstream.MetaOnly())
	if err != nil {
		return err
	}
	defer func() { _ = w.Stop() }() // its subscription goes in any case
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-renewed:
			return nil
		case e, ok := <-w.Updates():
			if !ok {
				return errors.New("the watch has ended")
			}
			if e != nil {
				k.saw(e.Revision())
				changed(e.Key(), e.Revision())
			}
		}
	}
}
