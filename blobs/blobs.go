package blobs

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
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
	b.held[k] = &held{content: content{value: value, there: true, source: wire.SourceDirect}}
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
	case (h == nil || !h.there) && known.Initial != "":
		return []byte(known.Initial), 0, wire.SourceDefault, nil
	case h == nil || !h.there:
		return nil, 0, wire.SourceKV, nil
	case h.damaged:
		return nil, 0, "", errDamaged(k)
	}
	return h.value, h.revision, h.source, nil
}

func errDamaged(k wire.BlobKey) error {
	return wire.Errorf(wire.CodeInternal, "blob %s.%d is damaged and no snapshot could restore it; set it again", k.Name, k.Index)
}

// Get answers blob.get.
func (b *Blobs) Get(_ context.Context, _ wire.Caller, r wire.BlobRange) (wire.BlobPart, error) {
	value, revision, source, err := b.read(r.BlobKey)
	if err != nil {
		return wire.BlobPart{}, err
	}
	size := int64(len(value))
	if r.Offset > 0 && r.Offset >= size {
		return wire.BlobPart{}, wire.Malformed("offset is %d; the blob has %d bytes, so 0 to %d would be right", r.Offset, size, max(size-1, 0))
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
		if !h.there {
			continue // somebody is about to write it
		}
		known, _ := wire.KnownBlob(k.Name) // it was looked up when it came in
		list = append(list, wire.BlobView{
			Name: k.Name, Index: k.Index, Size: int64(len(h.value)), Revision: h.revision, Source: h.source, Secret: known.Secret,
		})
	}
	for _, name := range wire.BlobNames() {
		known, _ := wire.KnownBlob(name)
		if k := (wire.BlobKey{Name: name}); known.Initial != "" && (b.held[k] == nil || !b.held[k].there) {
			list = append(list, wire.BlobView{Name: name, Size: int64(len(known.Initial)), Source: wire.SourceDefault})
		}
	}
	slices.SortFunc(list, func(x, y wire.BlobView) int {
		return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.Index, y.Index))
	})
	return wire.Blobs{Blobs: list}, nil
}

// Set answers blob.set. A revision of 0 wants that there is none yet.
func (b *Blobs) Set(ctx context.Context, _ wire.Caller, w wire.BlobWrite) (wire.BlobWritten, error) {
	return b.write(ctx, w.BlobKey, func(old content) ([]byte, error) {
		if w.Revision != nil && *w.Revision != old.revision {
			return nil, wire.Conflict("revision is %d; the blob is at %d", *w.Revision, old.revision).With("revision", old.revision)
		}
		return w.Data, nil
	})
}

// Append answers blob.append: it is atomic against other writers.
func (b *Blobs) Append(ctx context.Context, _ wire.Caller, w wire.BlobTail) (wire.BlobWritten, error) {
	return b.write(ctx, w.BlobKey, func(old content) ([]byte, error) {
		if old.damaged {
			return nil, errDamaged(w.BlobKey)
		}
		return slices.Concat(old.value, w.Data), nil
	})
}

// Empty answers blob.empty: an empty value is written.
func (b *Blobs) Empty(ctx context.Context, _ wire.Caller, k wire.BlobKey) (wire.BlobEmptied, error) {
	written, err := b.write(ctx, k, func(content) ([]byte, error) { return []byte{}, nil })
	return wire.BlobEmptied{Revision: written.Revision}, err
}
