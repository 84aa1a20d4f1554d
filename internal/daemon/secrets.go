package daemon

import (
	"context"
	"path/filepath"

	"muster/bus"
	"muster/internal/seal"
)

// openStore finds the store's key and holds it against everything that is encrypted, before the server that would drop
// what it cannot read is started and before anything is written. What an earlier version left in plain is encrypted.
func (d *Daemon) openStore(ctx context.Context) (err error) {
	dir := d.config.Dir
	if err := bus.Resume(dir); err != nil {
		return err
	}
	var found bus.Survey
	sealed, err := seal.Open(seal.Options{
		Dir: dir, Credential: d.config.Store.Credential, KeyFile: d.config.Store.KeyFile, Files: filepath.Join(dir, "blobs"),
		Log: d.opts.Log, User: d.config.own(), Open: d.demotion.open,
		Store: func(k seal.Key) (_ seal.Finding, err error) {
			found, err = bus.Look(dir, k.Reveal())
			return seal.Finding{Sealed: found.Sealed(), Opens: found.Opened > 0}, err
		},
	})
	if err != nil {
		return err
	}
	defer sealed.Forget()
	for _, file := range found.Closed {
		d.opts.Log.Error("a file of the store's own keys is damaged; the server drops what it was for", "file", file)
	}
	d.key = sealed.Store()
	if d.snapshots, err = sealed.Files(); err != nil {
		return err
	}
	if err := d.encrypt(ctx, found.Plain, sealed.Fresh()); err != nil {
		return err
	}
	return sealed.Confirm()
}

// encrypt takes over what is in plain: the snapshots first, so that as long as one of them is, so is the store, or the
// token is not there yet.
func (d *Daemon) encrypt(ctx context.Context, plain []string, fresh bool) error {
	if !fresh && len(plain) == 0 {
		return nil
	}
	count, err := d.snapshots.Adopt()
	if err != nil {
		return err
	}
	if len(plain) == 0 {
		return nil
	}
	d.opts.Log.Warn("the store is in plain and is being encrypted; what a flash held in plain may stay in its cells", "streams", plain, "snapshots", count)
	ctx, cancel := context.WithTimeout(ctx, loadBudget)
	defer cancel()
	return bus.Encrypt(ctx, bus.Options{
		Dir: d.config.Dir, Clock: d.platform, Log: d.opts.Log, MaxStore: d.config.Store.MaxBytes, Key: d.key.Reveal(),
	})
}
