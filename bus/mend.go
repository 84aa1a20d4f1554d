package bus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/nats-io/nats.go/jetstream"

	"muster/internal/durable"
)

// damagedFolder is where what could not be recovered is kept, the last of each stream.
const damagedFolder = "damaged"

// making runs create, which makes a stream unless it is there. A stream that lies on the disk and that the server did not
// recover is never made over: the server would delete what it cannot read, or not survive it. Such a one is kept aside
// and mended first. Should the server refuse even what was mended, the stream is made anew.
func (b *Bus) making(ctx context.Context, stream string, create func() error) error {
	path := b.folderOf(stream)
	mended, err := b.mend(ctx, stream, path)
	if err != nil {
		return fmt.Errorf("mend the stream %s: %w", stream, err)
	}
	err = create()
	if err == nil || !mended {
		return err
	}
	b.log.Error("stream made anew: nothing of it could be read", "stream", stream, "error", err)
	if err := os.RemoveAll(path); err != nil {
		return err
	}
	return create()
}

// folderOf is where the server has a stream.
func (b *Bus) folderOf(stream string) string {
	return filepath.Join(b.store.dir, "jetstream", ownAccount, "streams", stream)
}

// mend keeps a stream that was not recovered aside, and leaves in its place only its blocks and their keys, from which
// the server recovers every message that is whole. It does not mend a stream that is there, nor one of which there is
// nothing.
func (b *Bus) mend(ctx context.Context, stream, path string) (bool, error) {
	if _, err := os.Stat(path); err != nil {
		return false, absent(err)
	}
	if _, err := b.js.Stream(ctx, stream); !errors.Is(err, jetstream.ErrStreamNotFound) {
		return false, err
	}
	if empty, err := noMessages(path); err != nil || empty {
		return false, errors.Join(err, os.RemoveAll(path)) // the power failed while it was made
	}
	aside := filepath.Join(b.damaged(), stream)
	if err := errors.Join(os.MkdirAll(b.damaged(), 0o700), os.RemoveAll(aside)); err != nil {
		return false, err
	}
	if err := durable.CopyTree(path, aside); err != nil {
		return false, err
	}
	b.log.Error("stream damaged: the server did not recover it; its messages are read anew", "stream", stream, "kept", aside)
	return true, strip(path)
}

// damaged is the folder for what could not be recovered.
func (b *Bus) damaged() string {
	if b.opts.damaged != "" {
		return b.opts.damaged
	}
	return filepath.Join(b.opts.Dir, damagedFolder)
}

// noMessages reports whether a stream's folder has no block with anything in it.
func noMessages(path string) (bool, error) {
	blocks, err := filepath.Glob(filepath.Join(escape(path), "msgs", "*.blk"))
	for _, block := range blocks {
		if info, err := os.Stat(block); err != nil || info.Size() > 0 {
			return false, err
		}
	}
	return err == nil, err
}

// strip removes everything of a stream that is not a block or its key: how it is set up, which the daemon knows, the
// state of its readers, and the index.
func strip(path string) error {
	entries, err := os.ReadDir(path)
	for _, entry := range entries {
		if entry.Name() != "msgs" {
			err = errors.Join(err, os.RemoveAll(filepath.Join(path, entry.Name())))
		}
	}
	return errors.Join(err, dropIndex(path))
}

// dropIndex makes the server read every block of a stream when it recovers it.
func dropIndex(path string) error { return absent(os.Remove(filepath.Join(path, "msgs", "index.db"))) }
