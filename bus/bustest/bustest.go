// Package bustest gives any test a real bus: a server of its own on a port of the kernel's choice, in a temporary
// folder, closed with the test.
package bustest

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"muster/bus"
	"muster/wire"
)

// Clock is the machine's.
type Clock struct{}

// Now implements bus.Clock.
func (Clock) Now() (wire.UnixMicros, wire.MonoMicros) {
	now := time.Now()
	return wire.At(now), wire.MonoMicros(now.UnixMicro())
}

// Open starts a bus. The change, if there is one, is made to its options first.
func Open(t testing.TB, change ...func(*bus.Options)) *bus.Bus {
	t.Helper()
	opts := bus.Options{Dir: t.TempDir(), Listen: "127.0.0.1:0", Boot: "1-test", Clock: Clock{}}
	for _, f := range change {
		f(&opts)
	}
	b, err := bus.Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Listen(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// Dial connects to the bus over TCP, as any process of the device would.
func Dial(t testing.TB, b *bus.Bus, opts ...nats.Option) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(b.URL(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}
