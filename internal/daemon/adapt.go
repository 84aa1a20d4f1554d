package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"muster/blobs"
	"muster/bus"
	"muster/internal/durable"
	"muster/system"
	"muster/wire"
)

// participants carries questions and calls from system to the bus.
type participants struct{ *bus.Bus }

func peerOf(p system.Participant) bus.Peer {
	return bus.Peer{Identity: p.Identity, Conn: p.Conn, Subject: p.Subject, Format: p.Format}
}

// gone gives the bus's word for a lost participant as system's.
func gone(err error) error {
	if errors.Is(err, bus.ErrGone) {
		return system.ErrGone
	}
	return err
}

// Ask implements system.Asker.
func (p participants) Ask(to system.Participant, q wire.Question, answer func(wire.Answer, error)) func() {
	payload, err := to.Format.Encode(q)
	if err != nil {
		answer(wire.Answer{}, err)
		return func() {}
	}
	return p.Bus.Ask(peerOf(to), payload, func(data []byte, err error) {
		var a wire.Answer
		if err == nil {
			err = to.Format.Decode(data, &a)
		}
		answer(a, gone(err))
	})
}

// Call implements system.Caller.
func (p participants) Call(done <-chan struct{}, to system.Participant, call wire.Call) (wire.Raw, error) {
	payload, err := to.Format.Encode(call)
	if err != nil {
		return nil, err
	}
	type reply struct {
		data []byte
		err  error
	}
	replies := make(chan reply, 1)
	forget := p.Bus.Ask(peerOf(to), payload, func(data []byte, err error) {
		select {
		case replies <- reply{data, err}:
		default: // only the first counts
		}
	})
	defer forget()
	select {
	case r := <-replies:
		if r.err != nil {
			return nil, gone(r.err)
		}
		return to.Format.Raw(r.data)
	case <-done:
		return nil, context.DeadlineExceeded
	}
}

// tell sends a call's result to where its booker wanted it. Whoever is gone by then has lost interest.
func (p participants) tell(log *slog.Logger) func(string, wire.Booking, wire.Done) {
	return func(identity string, b wire.Booking, done wire.Done) {
		err := p.Deliver(bus.Peer{Identity: identity, Subject: b.Done, Format: b.Format}, done)
		if err != nil && !errors.Is(err, bus.ErrGone) {
			log.Warn("result not delivered", "id", done.ID, "error", err)
		}
	}
}

// bucket is the bus's bucket as the blobs want it.
type bucket struct{ *bus.Bucket }

// Get implements blobs.Store.
func (b bucket) Get(ctx context.Context, key string) (blobs.Record, error) {
	r, err := b.Bucket.Get(ctx, key)
	if errors.Is(err, bus.ErrNoRecord) {
		err = blobs.ErrNoRecord
	}
	return blobs.Record(r), err
}

// Put implements blobs.Store.
func (b bucket) Put(ctx context.Context, key string, value []byte, digest string, expect uint64) (uint64, error) {
	revision, err := b.Bucket.Put(ctx, key, value, digest, expect)
	if errors.Is(err, bus.ErrStale) {
		err = blobs.ErrStale
	}
	return revision, err
}

// memory keeps who took part, in a file that is written behind.
type memory struct {
	files durable.Dir
	log   *slog.Logger
	ring  chan struct{}

	mu   sync.Mutex
	next func() system.Remembered // nil when there is nothing new
}

const (
	memoryFile = "notifiers"
	memoryRest = 50 * time.Millisecond // between two times that it is written
)

func newMemory(files durable.Dir, log *slog.Logger) *memory {
	return &memory{files: files, log: log, ring: make(chan struct{}, 1)}
}

// Load implements system.Memory.
func (m *memory) Load() (known system.Remembered, err error) {
	text, err := m.files.Load(memoryFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return known, nil
	case err != nil:
		return known, err
	}
	return known, json.Unmarshal(text, &known)
}

// Save implements system.Memory.
func (m *memory) Save(known func() system.Remembered) {
	m.mu.Lock()
	m.next = known
	m.mu.Unlock()
	select {
	case m.ring <- struct{}{}:
	default:
	}
}

// run writes what is to be remembered, at once and then not again for a moment, until ctx is done, and then once more.
func (m *memory) run(ctx context.Context) error {
	defer m.write()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-m.ring:
			m.write()
		}
		rest := time.NewTimer(memoryRest)
		select {
		case <-ctx.Done():
			rest.Stop()
			return nil
		case <-rest.C:
		}
	}
}

func (m *memory) write() {
	m.mu.Lock()
	known := m.next
	m.next = nil
	m.mu.Unlock()
	if known == nil {
		return
	}
	text, err := json.Marshal(known())
	if err == nil {
		err = m.files.Save(memoryFile, text)
	}
	if err != nil {
		m.log.Error("notifiers not remembered", "error", err)
	}
}

// deviceBoot is the kernel's id of this boot of the device; "" where there is none.
func deviceBoot() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}
