package bus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"muster/internal/durable"
)

// The folders of an encryption that has not ended: the copy that is worked on, and the plain store once it is replaced.
const (
	encryptingFolder = "encrypting"
	replacedFolder   = "replaced"
)

// Encrypt turns the store in opts.Dir, of which something is plain, into one that opts.Key opens; no server may run on
// it. The server encrypts what it recovers, but in place, and what is damaged it drops: so it does both on a copy, first
// mending in plain and then encrypting, and the copy takes the store's place when it is whole and on disk. Power may
// fail at any time; [Resume] is for that. What even so stays plain is kept aside, and logged.
func Encrypt(ctx context.Context, opts Options) error {
	work := filepath.Join(opts.Dir, encryptingFolder)
	before, err := Look(opts.Dir, opts.Key)
	if err != nil {
		return err
	}
	if err := errors.Join(os.RemoveAll(work), os.MkdirAll(work, 0o700)); err != nil {
		return err
	}
	if err := durable.CopyTree(filepath.Join(opts.Dir, "store"), filepath.Join(work, "store")); err != nil {
		return fmt.Errorf("copy the store: %w", err)
	}
	passes := []string{"", opts.Key}
	if before.Sealed() {
		passes = passes[1:] // without the key the server could not even look at it
	}
	for _, key := range passes {
		pass := opts
		pass.Dir, pass.Listen, pass.Key, pass.damaged = work, "127.0.0.1:0", key, filepath.Join(opts.Dir, damagedFolder)
		if err := recoverOnce(ctx, pass); err != nil {
			return fmt.Errorf("encrypt the store: %w", err)
		}
	}
	if err := keepPlain(opts, work); err != nil {
		return err
	}
	return replace(opts.Dir, work)
}

// recoverOnce has the server recover the store, block by block, and stops it.
func recoverOnce(ctx context.Context, opts Options) error {
	if err := eachStream(opts.Dir, dropIndex); err != nil {
		return err
	}
	b, err := Open(opts)
	if err != nil {
		return err
	}
	_, bucketErr := b.Bucket(ctx)
	_, queueErr := b.Queue(ctx)
	return errors.Join(bucketErr, queueErr, b.Close())
}

func eachStream(dir string, do func(path string) error) error {
	accounts, err := folders(filepath.Join(dir, "store", "jetstream"))
	for _, account := range accounts {
		streams, errStreams := folders(filepath.Join(account, "streams"))
		err = errors.Join(err, errStreams)
		for _, stream := range streams {
			err = errors.Join(err, do(stream))
		}
	}
	return err
}

// keepPlain keeps aside whatever streams of others the server could neither recover nor encrypt.
func keepPlain(opts Options, work string) error {
	left, err := Look(work, opts.Key)
	if err != nil || len(left.Plain) == 0 {
		return err
	}
	aside := filepath.Join(opts.Dir, damagedFolder)
	if err := os.MkdirAll(aside, 0o700); err != nil {
		return err
	}
	return eachStream(work, func(path string) error {
		name := filepath.Base(path)
		if !slices.Contains(left.Plain, name) {
			return nil
		}
		kept := filepath.Join(aside, name)
		opts.Log.Error("stream not encrypted: the server could not recover it; it is kept as it is", "stream", name, "kept", kept)
		return errors.Join(os.RemoveAll(kept), os.Rename(path, kept))
	})
}

// replace puts the encrypted copy in the store's place.
func replace(dir, work string) error {
	store, done, replaced := filepath.Join(dir, "store"), filepath.Join(work, "store"), filepath.Join(work, replacedFolder)
	for _, step := range []func() error{
		func() error { return durable.SyncTree(work) },
		func() error { return os.Rename(store, replaced) },
		func() error { return errors.Join(durable.SyncDir(work), durable.SyncDir(dir)) },
		func() error { return os.Rename(done, store) },
		func() error { return durable.SyncDir(dir) },
		func() error { return os.RemoveAll(work) },
	} {
		if err := step(); err != nil {
			return fmt.Errorf("put the encrypted store in place: %w", err)
		}
	}
	return nil
}

// Resume ends what an interrupted [Encrypt] left in dir: the store is the plain one or the encrypted one, and whole.
func Resume(dir string) error {
	store, work := filepath.Join(dir, "store"), filepath.Join(dir, encryptingFolder)
	if _, err := os.Stat(work); err != nil {
		return absent(err)
	}
	if _, err := os.Stat(store); err != nil {
		if err := errors.Join(absent(err), absent(os.Rename(filepath.Join(work, replacedFolder), store))); err != nil {
			return err
		}
	}
	return errors.Join(os.RemoveAll(work), durable.SyncDir(dir))
}
