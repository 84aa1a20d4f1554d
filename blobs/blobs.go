package blobs

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"muster/wire"
)

// Options are the surroundings of the blobs. Store and Snapshots are required.
type Options struct {
	Store     Store
	Snapshots Snapshots
	Log       *slog.Logger
	// Changed is told of every write after it is on disk, never what was written.
	Changed func(k wire.BlobKey, revision uint64, size int64)
}

const maxUserBlobs = 1024

// Blobs are the device's blobs. They live in memory and are written through.
type Blobs struct {
	opts Options

	mu   sync.Mutex
	held map[wire.BlobKey]*held
}

// held is one blob in memory.
type held struct {
	turn sync.Mutex // of writers

	// Under Blobs.mu:
	value    []byte
	revision uint64
	source   wire.Source
	damaged  bool // and there was no snapshot to restore it from
}

// New makes them; [Blobs.Load] fills them.
func New(opts Options) *Blobs {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	return &Blobs{opts: opts, held: map[wire.BlobKey]*held{}}
}

// SetDirect lends a blob from memory of the process: no copy is made, no store knows of it, and nobody on the bus can
// write it. The bytes must not change.
func (b *Blobs) SetDirect(k wire.BlobKey, value []byte) error {
	if _, err := lookup(k); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held[k] = &held{value: value, source: wire.SourceDirect}
	return nil
}

// Contiguous gives a blob's bytes as one slice, without a copy; false where there is nothing. They must not be
// changed, and do not change: a write makes new ones.
func (b *Blobs) Contiguous(k wire.BlobKey) ([]byte, bool) {
	value, _, _, err := b.read(k)
	return value, err == nil && len(value) > 0
}

// read gives a blob's current content.
func (b *Blobs) read(k wire.BlobKey) ([]byte, uint64, wire.Source, error) {
	known, err := lookup(k)
	if err != nil {
		return nil, 0, "", err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.held[k]
	switch {
	case h == nil && known.Initial != "":
		return []byte(known.Initial), 0, wire.SourceDefault, nil
	case h == nil:
		return nil, 0, wire.SourceKV, nil
	case h.damaged:
		return nil, 0, "", wire.Errorf(wire.CodeInternal, "blob %s.%d is damaged and no snapshot could restore it; set it again", k.Name, k.Index)
	}
	return h.value, h.revision, h.source, nil
}

// Get answers blob.get.
func (b *Blobs) Get(_ context.Context, _ wire.Caller, r wire.BlobRange) (wire.BlobPart, error) {
	value, revision, source, err := b.read(r.BlobKey)
	if err != nil {
		return wire.BlobPart{}, err
	}
	size := int64(len(value))
	if r.Offset > 0 && r.Offset >= size {
		return wire.BlobPart{}, wire.Malformed("offset is %d; the blob has %d bytes", r.Offset, size)
	}
	end := size
	if r.Length != nil && *r.Length < size-r.Offset {
		end = r.Offset + *r.Length
	}
	return wire.BlobPart{
		Data: value[r.Offset:end], Offset: r.Offset, Size: size, Revision: revision, Source: source,
	}, nil
}

// Size answers blob.size.
func (b *Blobs) Size(_ context.Context, _ wire.Caller, k wire.BlobKey) (wire.BlobMeta, error) {
	value, revision, source, err := b.read(k)
	return wire.BlobMeta{Size: int64(len(value)), Revision: revision, Source: source}, err
}

// List answers blob.list.
func (b *Blobs) List(context.Context, wire.Caller, wire.Empty) (wire.Blobs, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []wire.BlobView
	for k, h := range b.held {
		known, _ := wire.KnownBlob(k.Name) // it was looked up when it came in
		list = append(list, wire.BlobView{
			Name: k.Name, Index: k.Index, Size: int64(len(h.value)), Revision: h.revision, Source: h.source, Secret: known.Secret,
		})
	}
	for _, name := range wire.BlobNames() {
		known, _ := wire.KnownBlob(name)
		if k := (wire.BlobKey{Name: name}); known.Initial != "" && b.held[k] == nil {
			list = append(list, wire.BlobView{Name: name, Size: int64(len(known.Initial)), Source: wire.SourceDefault})
		}
	}
	slices.SortFunc(list, func(x, y wire.BlobView) int {
		return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.Index, y.Index))
	})
	return wire.Blobs{Blobs: list}, nil
}

// Set answers blob.set.
func (b *Blobs) Set(ctx context.Context, _ wire.Caller, w wire.BlobWrite) (wire.BlobWritten, error) {
	return b.write(ctx, w.BlobKey, func(_ []byte, revision uint64) ([]byte, error) {
		if w.Revision != nil && *w.Revision != revision {
			return nil, wire.Conflict("revision is %d; the blob is at %d", *w.Revision, revision).With("revision", revision)
		}
		return w.Data, nil
	})
}

// Append answers blob.append: it is atomic against other writers.
func (b *Blobs) Append(ctx context.Context, _ wire.Caller, w wire.BlobTail) (wire.BlobWritten, error) {
	return b.write(ctx, w.BlobKey, func(old []byte, _ uint64) ([]byte, error) {
		return slices.Concat(old, w.Data), nil
	})
}

// Empty answers blob.empty: an empty value is written.
func (b *Blobs) Empty(ctx context.Context, _ wire.Caller, k wire.BlobKey) (wire.BlobEmptied, error) {
	written, err := b.write(ctx, k, func([]byte, uint64) ([]byte, error) { return []byte{}, nil })
	return wire.BlobEmptied{Revision: written.Revision}, err
}

// write replaces a blob's content by what change makes of it. Should another client of the bucket write at the same
// time, change is asked again.
func (b *Blobs) write(ctx context.Context, k wire.BlobKey, change func(old []byte, revision uint64) ([]byte, error)) (wire.BlobWritten, error) {
	h, err := b.holdForWrite(k)
	if err != nil {
		return wire.BlobWritten{}, err
	}
	h.turn.Lock()
	defer h.turn.Unlock()
	for {
		b.mu.Lock()
		old, revision := h.value, h.revision
		b.mu.Unlock()
		value, err := change(old, revision)
		switch {
		case err != nil:
			return wire.BlobWritten{}, err
		case len(value) > wire.MaxBlob:
			return wire.BlobWritten{}, wire.Errorf(wire.CodeTooLarge, "blob %s.%d would have %d bytes; at most %d are allowed", k.Name, k.Index, len(value), wire.MaxBlob)
		}
		written, err := b.store(ctx, k, h, value, revision)
		if !errors.Is(err, ErrStale) {
			return written, err
		}
		if err := b.refresh(ctx, k, h); err != nil {
			return wire.BlobWritten{}, err
		}
	}
}

// holdForWrite gives the place of a blob that may be written.
func (b *Blobs) holdForWrite(k wire.BlobKey) (*held, error) {
	if _, err := lookup(k); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.held[k]
	switch {
	case h == nil && strings.HasPrefix(k.Name, wire.UserBlobPrefix) && b.userBlobs() >= maxUserBlobs:
		return nil, wire.Errorf(wire.CodeTooMany, "there are %d blobs of users, which is as many as may be", maxUserBlobs)
	case h == nil:
		h = &held{source: wire.SourceKV}
		b.held[k] = h
	case h.source == wire.SourceDirect:
		return nil, wire.Conflict("blob %s.%d is memory of the daemon's process and cannot be written", k.Name, k.Index)
	}
	return h, nil
}

func (b *Blobs) userBlobs() int {
	count := 0
	for k := range b.held {
		if strings.HasPrefix(k.Name, wire.UserBlobPrefix) {
			count++
		}
	}
	return count
}

// store writes to the bucket and then to the snapshot; only then is it so.
func (b *Blobs) store(ctx context.Context, k wire.BlobKey, h *held, value []byte, expect uint64) (wire.BlobWritten, error) {
	revision, err := b.opts.Store.Put(ctx, keyOf(k), value, digestOf(value), expect)
	if err != nil {
		return wire.BlobWritten{}, err
	}
	b.mu.Lock()
	h.value, h.revision, h.source, h.damaged = slices.Clone(value), revision, wire.SourceKV, false
	b.mu.Unlock()
	if err := b.snap(k, value, revision); err != nil {
		return wire.BlobWritten{}, wire.Errorf(wire.CodeStoreFull, "blob %s.%d is in the store, but its snapshot could not be written: %v", k.Name, k.Index, err)
	}
	if b.opts.Changed != nil {
		b.opts.Changed(k, revision, int64(len(value)))
	}
	return wire.BlobWritten{Size: int64(len(value)), Revision: revision}, nil
}

func (b *Blobs) snap(k wire.BlobKey, value []byte, revision uint64) error {
	data, err := snapshot{Value: value, Revision: revision}.encode()
	if err != nil {
		return err
	}
	return b.opts.Snapshots.Save(keyOf(k), data)
}

// refresh takes what another client wrote.
func (b *Blobs) refresh(ctx context.Context, k wire.BlobKey, h *held) error {
	r, err := b.opts.Store.Get(ctx, keyOf(k))
	if err != nil && !errors.Is(err, ErrNoRecord) {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	h.value, h.revision, h.damaged = r.Value, r.Revision, false
	return nil
}

// Changed takes note of what happened to a key of the bucket, by whomever: own writes are known already, those of
// other clients are adopted.
func (b *Blobs) Changed(ctx context.Context, key string) error {
	k, ours := parseKey(key)
	if !ours {
		return nil
	}
	b.mu.Lock()
	h := b.held[k]
	if h == nil {
		h = &held{source: wire.SourceKV}
		b.held[k] = h
	}
	b.mu.Unlock()
	h.turn.Lock()
	defer h.turn.Unlock()
	r, err := b.opts.Store.Get(ctx, key)
	if err != nil {
		return err
	}
	b.mu.Lock()
	known := r.Revision <= h.revision || h.source == wire.SourceDirect
	b.mu.Unlock()
	if known {
		return nil
	}
	return b.adopt(ctx, k, h, r)
}

// adopt makes another client's write ours: digest, snapshot, event. A deletion stays one.
func (b *Blobs) adopt(ctx context.Context, k wire.BlobKey, h *held, r Record) error {
	if r.Deleted {
		b.mu.Lock()
		delete(b.held, k)
		b.mu.Unlock()
		if b.opts.Changed != nil {
			b.opts.Changed(k, r.Revision, 0)
		}
		return b.opts.Snapshots.Remove(keyOf(k))
	}
	if len(r.Value) > wire.MaxBlob {
		b.opts.Log.Warn("blob of another client is too large and not taken", "blob", keyOf(k), "bytes", len(r.Value))
		return nil
	}
	_, err := b.store(ctx, k, h, r.Value, r.Revision)
	if errors.Is(err, ErrStale) {
		return nil // it was written again, and will be told again
	}
	return err
}
