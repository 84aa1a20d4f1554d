package bus

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"muster/wire"
)

// store is the server's store: whether it takes writes, and how it comes back when it does not.
//
// When a file of it cannot be written, because the disk is full, the server gives the stream up and answers nobody who
// writes to it, until it is opened anew. So who waits for a write is told at once, and as soon as there is room the
// whole store is opened anew, which takes some milliseconds. Nothing that was acknowledged is lost by that.
type store struct {
	dir string
	max int64 // bytes

	mu     sync.Mutex
	sound  context.Context //nolint:containedctx // ends when a write fails, with the reason as its cause
	fail   context.CancelCauseFunc
	opened chan struct{} // closed when the store, or a part of it, has been made or opened anew
}

const (
	roomToStart = 4 << 10         // bytes that must be free to begin with
	roomToMend  = 1 << 20         // bytes that must be free before a store that failed is opened anew
	mendEvery   = time.Second     // to look whether there is room
	shareMost   = 64 << 20        // bytes of one of the daemon's own streams, if the store is large enough
	shares      = 4               // events, blobs and durable bookings have one each, and one is left
	writeBudget = 5 * time.Second // for a write to be on disk
)

// What the server answers when there is no room: in the store, for another stream, in a stream.
const (
	insufficient    jetstream.ErrorCode = 10023
	storageExceeded jetstream.ErrorCode = 10047
	storeFailed     jetstream.ErrorCode = 10077
)

func newStore(opts Options) *store {
	s := &store{dir: filepath.Join(opts.Dir, "store"), max: opts.MaxStore, opened: make(chan struct{})}
	if s.max == 0 {
		s.max = defaultStore
	}
	s.sound, s.fail = context.WithCancelCause(context.Background())
	return s
}

// share is what each of the daemon's own streams may hold.
func (s *store) share() int64 { return min(shareMost, s.max/shares) }

// prepare makes the folder. A full disk is no reason not to start: what is there can be read.
func (s *store) prepare() error {
	err := os.MkdirAll(s.dir, 0o700)
	if err == nil {
		err = s.probe(roomToStart)
	}
	if errors.Is(err, syscall.ENOSPC) {
		s.fails(err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("write to the store's folder: %w", err)
	}
	return nil
}

// probe finds out whether so many bytes can be written.
func (s *store) probe(room int) error {
	f, err := os.CreateTemp(s.dir, ".probe-*")
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, room))
	return reasonOf(errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name())))
}

// reasonOf leaves out the name of the file, which says nothing to anybody.
func reasonOf(err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err
	}
	return err
}

// fails notes that a write has failed.
func (s *store) fails(reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail(reasonOf(reason))
}

// fault says why the store takes no writes, nil when it does.
func (s *store) fault() error { return context.Cause(s.state()) }

// state gives a context that ends when a write fails.
func (s *store) state() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sound
}

// reopened is closed when the store, or a part of it, is made or opened anew for the next time.
func (s *store) reopened() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opened
}

// mended notes that the store takes writes again.
func (s *store) mended() {
	s.mu.Lock()
	s.sound, s.fail = context.WithCancelCause(context.Background())
	s.mu.Unlock()
	s.renewed()
}

// renewed tells that what is in the store is not what it was a moment ago.
func (s *store) renewed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.opened)
	s.opened = make(chan struct{})
}

// write does something that the store acknowledges. When it cannot, or stops to work meanwhile, that is 507.
func (s *store) write(ctx context.Context, f func(context.Context) error) error {
	sound := s.state()
	ctx, cancel := context.WithTimeout(ctx, writeBudget)
	defer cancel()
	defer context.AfterFunc(sound, cancel)()
	if fault := context.Cause(sound); fault != nil {
		return full(fault)
	}
	err := f(ctx)
	if fault := context.Cause(sound); err != nil && fault != nil {
		return full(fault)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return wire.Errorf(wire.CodeTimeout, "the store did not acknowledge within %v", writeBudget)
	}
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && refusesForRoom(api) {
		return full(err)
	}
	return err
}

func full(reason error) error {
	return wire.Errorf(wire.CodeStoreFull, "the store takes no writes: %v", reason)
}

// refusesForRoom reports whether the server said that the store or the stream has reached its size.
func refusesForRoom(err *jetstream.APIError) bool {
	return err.ErrorCode == insufficient || err.ErrorCode == storageExceeded || err.ErrorCode == storeFailed
}

// mendStore brings the store back whenever it has failed, until the bus closes.
func (b *Bus) mendStore() {
	for {
		select {
		case <-b.ctx.Done():
			return
		case <-b.store.state().Done():
		}
		b.log.Error("the store takes no writes", "error", b.store.fault())
		b.storeFailed()
		if !b.reopenStore() {
			return
		}
		b.log.Info("the store takes writes again")
		b.store.mended()
		b.resend()
	}
}

// reopenStore opens the store anew once there is room; false when the bus closed before.
func (b *Bus) reopenStore() bool {
	tick := time.NewTicker(mendEvery)
	defer tick.Stop()
	for said := ""; ; {
		select {
		case <-b.ctx.Done():
			return false
		case <-tick.C:
		}
		err := b.tryStore()
		if err == nil {
			return true
		}
		if err.Error() != said {
			said = err.Error()
			b.log.Warn("store not opened anew yet", "error", err)
		}
	}
}

func (b *Bus) tryStore() error {
	if err := b.store.probe(roomToMend); err != nil {
		return err
	}
	if err := b.server.ShutdownJetStream(); err != nil {
		return err
	}
	err := b.server.EnableJetStream(&server.JetStreamConfig{
		StoreDir: b.store.dir, SyncAlways: true, Strict: true, MaxStore: b.store.max, MaxMemory: maxMemoryStore,
	})
	if err != nil {
		return err
	}
	return b.makeEvents()
}

// makeStream makes one of the daemon's own streams, or finds it. One that is larger than wanted stays so: what it holds
// would be lost. One that is as wanted is not touched, so that a full disk does not matter.
func (b *Bus) makeStream(ctx context.Context, config jetstream.StreamConfig) (jetstream.Stream, error) {
	if there, err := b.js.Stream(ctx, config.Name); err == nil {
		has := there.CachedInfo().Config
		config.MaxBytes = max(config.MaxBytes, has.MaxBytes)
		wanted := has // with what the server adds
		wanted.Subjects, wanted.SubjectTransform, wanted.MaxBytes = config.Subjects, config.SubjectTransform, config.MaxBytes
		if reflect.DeepEqual(has, wanted) {
			return there, nil
		}
	}
	var stream jetstream.Stream
	err := b.making(ctx, config.Name, func() (err error) {
		stream, err = b.js.CreateOrUpdateStream(ctx, config)
		return err
	})
	return stream, b.store.made("stream "+config.Name, err)
}

// made explains why something could not be made.
func (s *store) made(what string, err error) error {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == storageExceeded {
		return fmt.Errorf("make the %s: the other streams leave no room for it in a store of %d bytes", what, s.max)
	}
	if err != nil {
		return fmt.Errorf("make the %s: %w", what, err)
	}
	return nil
}
