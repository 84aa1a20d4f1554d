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
// says how. Where something has to be restored, the bucket is made anew and every blob written to it: should the power
// fail in between, the snapshots still have them all. What was mended is logged and returned.
func (b *Blobs) Load(ctx context.Context) ([]Repair, error) {
	last, err := b.opts.Store.LastRevision(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the bucket: %w", err)
	}
	keys, err := b.keys(ctx)
	if err != nil {
		return nil, err
	}
	var findings []finding
	above, reset := last, false
	for _, key := range keys {
		k, ours := parseKey(key)
		if !ours {
			continue
		}
		f, err := b.examine(ctx, k, last)
		if err != nil {
			return nil, fmt.Errorf("examine blob %s: %w", key, err)
		}
		above, reset = max(above, f.revision), reset || f.verdict == restored
		findings = append(findings, f)
	}
	if reset {
		if err := b.opts.Store.Reset(ctx, above); err != nil {
			return nil, err
		}
	}
	var repairs []Repair
	for _, f := range findings {
		if f.repair.Found != "" {
			repairs = append(repairs, f.repair)
			b.opts.Log.Error("blob mended", "blob", f.repair.Blob, "found", f.repair.Found, "done", f.repair.Done)
		}
		b.settle(ctx, f, reset)
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

// verdict is what the table says of a blob.
type verdict int

const (
	intact   verdict = iota // the bucket has it
	adopted                 // another client put it there
	restored                // only the snapshot has it
	deleted                 // by a marker
	lost                    // neither has it
)

// finding is a blob as it was found.
type finding struct {
	blob     wire.BlobKey
	verdict  verdict
	value    []byte
	revision uint64
	snapped  bool // the snapshot is of this value
	repair   Repair
}

// examine holds one blob against its snapshot.
func (b *Blobs) examine(ctx context.Context, k wire.BlobKey, last uint64) (finding, error) {
	record, err := b.opts.Store.Get(ctx, keyOf(k))
	missing := errors.Is(err, ErrNoRecord)
	if err != nil && !missing {
		return finding{}, err
	}
	snap, snapErr := b.loadSnapshot(k)
	whole := snapErr == nil
	f := finding{blob: k, value: record.Value, revision: record.Revision, snapped: whole && snap.Revision == record.Revision}
	wrong := !missing && !record.Deleted && record.Digest != "" && record.Digest != digestOf(record.Value)
	switch {
	case whole && snap.Revision > last:
		f.mend(restored, "the bucket ends before the snapshot", "restored from the snapshot")
	case missing && whole:
		f.mend(restored, "the bucket has nothing, not even a deletion", "restored from the snapshot")
	case wrong && whole:
		f.mend(restored, "the value does not match its digest", "restored from the snapshot")
	case missing:
		f.mend(lost, "the bucket has nothing and the snapshot is damaged", "reading it is an error until it is set again")
	case wrong:
		f.mend(lost, "the value does not match its digest and there is no whole snapshot", "reading it is an error until it is set again")
	case record.Deleted:
		f.verdict = deleted
	case record.Digest == "":
		f.verdict = adopted
	case !whole && !errors.Is(snapErr, fs.ErrNotExist):
		f.mend(intact, "the snapshot is damaged", "written anew from the bucket")
	}
	if f.verdict == restored {
		f.value, f.revision = snap.Value, max(snap.Revision, record.Revision)
	}
	return f, nil
}

func (f *finding) mend(v verdict, found, done string) {
	f.verdict, f.repair = v, Repair{Blob: keyOf(f.blob), Found: found, Done: done}
}

// settle does what the table says. In a bucket that was made anew everything is written again. What cannot be written,
// because the disk is full, is left to the next start: the value is there all the same.
func (b *Blobs) settle(ctx context.Context, f finding, reset bool) {
	h := &held{}
	h.put(f.value, f.revision)
	if reset {
		h.last = 0
	}
	var err error
	switch {
	case f.verdict == deleted:
		err = b.opts.Snapshots.Remove(keyOf(f.blob))
		h = nil
	case f.verdict == lost:
		h.damaged = true
	case reset || f.verdict == adopted:
		_, err = b.store(ctx, f.blob, h, f.value, h.last)
	case !f.snapped:
		err = b.snap(f.blob, f.value, f.revision)
	}
	if err != nil {
		b.opts.Log.Error("blob loaded, but not written", "blob", keyOf(f.blob), "error", err)
	}
	if h != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.held[f.blob] = h
	}
}

// snap writes a snapshot of what the bucket has.
func (b *Blobs) snap(k wire.BlobKey, value []byte, revision uint64) error {
	data, err := snapshot{Value: value, Revision: revision}.encode()
	if err != nil {
		return err
	}
	return b.opts.Snapshots.Save(keyOf(k), data)
}

func (b *Blobs) loadSnapshot(k wire.BlobKey) (snapshot, error) {
	data, err := b.opts.Snapshots.Load(keyOf(k))
	if err != nil {
		return snapshot{}, err
	}
	return decodeSnapshot(data)
}
