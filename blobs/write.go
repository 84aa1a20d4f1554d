package blobs

import (
	"context"
	"errors"
	"math"
	"slices"

	"muster/wire"
)

// write replaces a blob's content by what change makes of it. Should another client of the bucket write at the same
// time, change is asked again.
func (b *Blobs) write(ctx context.Context, k wire.BlobKey, change func(old content) ([]byte, error)) (wire.BlobWritten, error) {
	h, err := b.holdForWrite(k)
	if err != nil {
		return wire.BlobWritten{}, err
	}
	defer b.release(k, h)
	h.turn.Lock()
	defer h.turn.Unlock()
	for {
		old, last := b.look(h)
		value, err := change(old)
		switch {
		case err != nil:
			return wire.BlobWritten{}, err
		case len(value) > wire.MaxBlob:
			return wire.BlobWritten{}, wire.Errorf(wire.CodeTooLarge, "blob %s.%d would have %d bytes; at most %d are allowed", k.Name, k.Index, len(value), wire.MaxBlob)
		}
		written, err := b.store(ctx, k, h, value, last)
		if !errors.Is(err, ErrStale) {
			return written, err
		}
		if err := b.refresh(ctx, k, h); err != nil {
			return wire.BlobWritten{}, err
		}
	}
}

// store writes to the bucket and then to the snapshot; only then is it answered. Room for the snapshot is made before, so that
// a full disk leaves both as they were.
func (b *Blobs) store(ctx context.Context, k wire.BlobKey, h *held, value []byte, expect uint64) (wire.BlobWritten, error) {
	var none wire.BlobWritten
	longest, err := snapshot{Value: value, Revision: math.MaxUint64}.encode()
	if err != nil {
		return none, err
	}
	commit, discard, err := b.opts.Snapshots.Draft(keyOf(k), longest)
	if err != nil {
		return none, wire.Errorf(wire.CodeStoreFull, "there is no room for the snapshot of blob %s.%d: %v", k.Name, k.Index, err)
	}
	revision, err := b.opts.Store.Put(ctx, keyOf(k), value, digestOf(value), expect)
	if err != nil {
		if err := discard(); err != nil {
			b.opts.Log.Warn("draft of a snapshot not removed", "blob", keyOf(k), "error", err)
		}
		return none, err
	}
	b.mu.Lock()
	h.put(slices.Clone(value), revision)
	b.mu.Unlock()
	data, err := snapshot{Value: value, Revision: revision}.encode()
	if err == nil {
		err = commit(data)
	}
	b.tell(k, revision, int64(len(value))) // it has changed, whatever has become of the snapshot
	if err != nil {
		return none, wire.Errorf(wire.CodeStoreFull, "blob %s.%d is in the store, but its snapshot could not be written: %v", k.Name, k.Index, err)
	}
	return wire.BlobWritten{Size: int64(len(value)), Revision: revision}, nil
}

func (b *Blobs) tell(k wire.BlobKey, revision uint64, size int64) {
	if b.opts.Changed != nil {
		b.opts.Changed(k, revision, size)
	}
}

// refresh takes what another client wrote. Where the bucket has nothing any more, not even a deletion, what was there
// stands, as it does at the start.
func (b *Blobs) refresh(ctx context.Context, k wire.BlobKey, h *held) error {
	r, err := b.opts.Store.Get(ctx, keyOf(k))
	missing := errors.Is(err, ErrNoRecord)
	if err != nil && !missing {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case missing:
		h.last = 0
	case r.Deleted:
		h.deleted(r.Revision)
	default:
		h.put(r.Value, r.Revision)
	}
	return nil
}

// Changed takes note of what happened to a key of the bucket, by whomever: own writes are known already, those of
// other clients are adopted.
func (b *Blobs) Changed(ctx context.Context, key string, revision uint64) error {
	k, ours := parseKey(key)
	if !ours {
		return nil
	}
	h := b.hold(k)
	defer b.release(k, h)
	h.turn.Lock()
	defer h.turn.Unlock()
	if now, last := b.look(h); revision <= last || now.source == wire.SourceDirect {
		return nil
	}
	r, err := b.opts.Store.Get(ctx, key)
	if errors.Is(err, ErrNoRecord) {
		return nil // removed since; what was there stands
	}
	if err != nil {
		return err
	}
	return b.adopt(ctx, k, h, r)
}

// adopt makes another client's write ours: digest, snapshot, event. A deletion stays one.
func (b *Blobs) adopt(ctx context.Context, k wire.BlobKey, h *held, r Record) error {
	switch {
	case r.Deleted:
		b.mu.Lock()
		known := !h.there
		h.deleted(r.Revision)
		b.mu.Unlock()
		if !known {
			b.tell(k, r.Revision, 0)
		}
		return b.opts.Snapshots.Remove(keyOf(k))
	case len(r.Value) > wire.MaxBlob:
		b.opts.Log.Warn("blob of another client is too large and not taken", "blob", keyOf(k), "bytes", len(r.Value))
		return nil
	}
	_, err := b.store(ctx, k, h, r.Value, r.Revision)
	if errors.Is(err, ErrStale) {
		return nil // it was written again, and will be told again
	}
	if _, last := b.look(h); err != nil && last < r.Revision {
		// It is not ours yet, but it is what the bucket has. The next start adopts it.
		b.mu.Lock()
		h.put(r.Value, r.Revision)
		b.mu.Unlock()
		b.tell(k, r.Revision, int64(len(r.Value)))
	}
	return err
}
