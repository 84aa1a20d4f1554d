package blobs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"muster/wire"
)

// Repair says what was found wrong with a blob at the start, and what was done.
type Repair struct {
	Blob  string // "auth.1"
	Found string
	Done  string
}

// Load reads every blob, holds it against its snapshot and mends what is damaged; the table in the package comment
// says how. What it mended is logged and returned.
func (b *Blobs) Load(ctx context.Context) ([]Repair, error) {
	last, err := b.opts.Store.LastRevision(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the bucket: %w", err)
	}
	keys, err := b.keys(ctx)
	if err != nil {
		return nil, err
	}
	var repairs []Repair
	for _, key := range keys {
		k, ours := parseKey(key)
		if !ours {
			continue
		}
		repair, err := b.check(ctx, k, last)
		if err != nil {
			return repairs, fmt.Errorf("load blob %s: %w", key, err)
		}
		if repair.Found != "" {
			repair.Blob = key
			repairs = append(repairs, repair)
			b.opts.Log.Error("blob mended", "blob", key, "found", repair.Found, "done", repair.Done)
		}
	}
	return repairs, nil
}

// keys lists what the bucket or the snapshots know.
func (b *Blobs) keys(ctx context.Context) ([]string, error) {
	stored, err := b.opts.Store.Keys(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the bucket: %w", err)
	}
	snapped, err := b.opts.Snapshots.List()
	if err != nil {
		return nil, fmt.Errorf("list the snapshots: %w", err)
	}
	keys := slices.Concat(stored, snapped)
	slices.Sort(keys)
	return slices.Compact(keys), nil
}

// check holds one blob against its snapshot.
func (b *Blobs) check(ctx context.Context, k wire.BlobKey, last uint64) (Repair, error) {
	record, err := b.opts.Store.Get(ctx, keyOf(k))
	missing := errors.Is(err, ErrNoRecord)
	if err != nil && !missing {
		return Repair{}, err
	}
	snap, snapErr := b.loadSnapshot(k)
	whole := snapErr == nil
	switch {
	case whole && snap.Revision > last:
		return b.restore(ctx, k, snap, record.Revision, "the bucket ends before the snapshot")
	case missing && whole:
		return b.restore(ctx, k, snap, 0, "the bucket has nothing, not even a deletion")
	case missing:
		return Repair{Found: "the bucket has nothing and the snapshot is damaged", Done: "nothing could be"}, b.opts.Snapshots.Remove(keyOf(k))
	case record.Deleted:
		return Repair{}, b.opts.Snapshots.Remove(keyOf(k))
	case record.Digest == "":
		h := b.place(k, held{source: wire.SourceKV})
		return Repair{}, b.adopt(ctx, k, h, record)
	case record.Digest != digestOf(record.Value) && whole:
		return b.restore(ctx, k, snap, record.Revision, "the value does not match its digest")
	case record.Digest != digestOf(record.Value):
		b.place(k, held{source: wire.SourceKV, revision: record.Revision, damaged: true})
		return Repair{Found: "the value does not match its digest and there is no snapshot", Done: "nothing could be"}, nil
	}
	b.place(k, held{value: record.Value, revision: record.Revision, source: wire.SourceKV})
	if whole && snap.Revision == record.Revision {
		return Repair{}, nil
	}
	var repair Repair
	if snapErr != nil && !errors.Is(snapErr, fs.ErrNotExist) {
		repair = Repair{Found: "the snapshot is damaged", Done: "written anew from the bucket"}
	}
	return repair, b.snap(k, record.Value, record.Revision)
}

func (b *Blobs) loadSnapshot(k wire.BlobKey) (snapshot, error) {
	data, err := b.opts.Snapshots.Load(keyOf(k))
	if err != nil {
		return snapshot{}, err
	}
	return decodeSnapshot(data)
}

// place puts a blob in memory.
func (b *Blobs) place(k wire.BlobKey, h held) *held {
	b.mu.Lock()
	defer b.mu.Unlock()
	placed := &held{value: h.value, revision: h.revision, source: h.source, damaged: h.damaged}
	b.held[k] = placed
	return placed
}

// restore writes the snapshot's content back to the bucket.
func (b *Blobs) restore(ctx context.Context, k wire.BlobKey, snap snapshot, expect uint64, found string) (Repair, error) {
	h := b.place(k, held{source: wire.SourceKV})
	_, err := b.store(ctx, k, h, snap.Value, expect)
	return Repair{Found: found, Done: "restored from the snapshot"}, err
}
