package boot

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"muster/system"
	"muster/wire"
)

// Identity gives the device its serial, in the blob device-serial.0, and holds REGISTERED until it has one. What the blob has is
// kept for good: that the source says something else later is told on sys.network.identity, and changes nothing.
type Identity struct {
	opts IdentityOptions

	mu    sync.Mutex
	known bool
	fault trouble
	hold  holding
}

// IdentityOptions are the surroundings of an Identity. All but Patience and Log are required.
type IdentityOptions struct {
	Source   SerialSource
	Blobs    Blobs
	Gate     Gate
	Teller   Teller
	Patience time.Duration // after which the device goes on without a serial; 0: never
	Log      *slog.Logger
}

const (
	identityName  = "identity"
	identityTopic = "sys.network.identity"
)

// serialBlob is what the device is called.
var serialBlob = wire.BlobKey{Name: "device-serial"}

// NewIdentity makes the part.
func NewIdentity(opts IdentityOptions) *Identity {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	return &Identity{opts: opts, hold: holding{patience: patience{limit: opts.Patience}}}
}

// Notifier implements [Part].
func (i *Identity) Notifier() system.Notifier {
	return system.Notifier{
		Name: identityName, States: []wire.State{wire.Registered}, Ask: i.ask,
		About: "gives the device its serial",
	}
}

// ask holds until the device has a serial.
func (i *Identity) ask(_ context.Context, q wire.Question) wire.Answer {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.hold.answer(q, i.known, i.reason, func(reason string) {
		i.tell(Change{Degraded: true, Reason: reason + "; the device goes on without a serial"})
		i.opts.Log.Error("serial not waited for any longer", "patience", i.opts.Patience, "reason", reason)
	})
}

func (i *Identity) reason() string {
	if i.fault.times > 0 {
		return i.fault.String()
	}
	return "the serial of the device has not been looked at yet"
}

// tell sends an event.
func (i *Identity) tell(change Change) { i.opts.Teller.Tell(identityTopic, &change) }

// Run implements [Part].
func (i *Identity) Run(ctx context.Context) error {
	for failures := 1; ; failures++ {
		err := i.settle(ctx)
		i.mu.Lock()
		if i.known = err == nil; i.known {
			i.hold.over()
		} else {
			i.fault.note(lastWords(err.Error()))
		}
		i.mu.Unlock()
		resume(ctx, i.opts.Gate, identityName, i.opts.Log)
		if err == nil || !pause(ctx, backoff(failures)) {
			return nil
		}
	}
}

// settle sees to it that the blob has a serial.
func (i *Identity) settle(ctx context.Context) error {
	part, err := i.opts.Blobs.Get(ctx, wire.Internal, wire.BlobRange{BlobKey: serialBlob})
	if err != nil {
		return fmt.Errorf("the blob device-serial.0 cannot be read: %w", err)
	}
	kept := strings.TrimSpace(string(part.Data))
	found, err := i.opts.Source.Serial()
	switch {
	case kept != "" && err == nil && found.Value != kept:
		i.tell(Change{Old: kept, New: kept, Reason: fmt.Sprintf("%s says %s; the device stays %s", found.From, found.Value, kept)})
		i.opts.Log.Warn("serial is not what its source says", "serial", kept, "source", found.From, "says", found.Value)
		return nil
	case kept != "":
		return nil
	case err != nil:
		return fmt.Errorf("nothing says the serial of the device: %w", err)
	}
	// Only if it is still empty: somebody may give the device another one meanwhile.
	_, err = i.opts.Blobs.Set(ctx, wire.Internal, wire.BlobWrite{BlobKey: serialBlob, Data: []byte(found.Value), Revision: &part.Revision})
	if err != nil {
		return fmt.Errorf("the blob device-serial.0 cannot be written: %w", err)
	}
	i.tell(Change{New: found.Value, Origin: found.From})
	i.opts.Log.Info("device has a serial", "serial", found.Value, "source", found.From)
	return nil
}
