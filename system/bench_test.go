package system

import (
	"context"
	"fmt"
	"testing"

	"muster/wire"
)

// quiet is a journal that keeps nothing, so that a benchmark measures the machine alone.
type quiet struct{}

func (quiet) Keep(string, wire.Stamped) wire.Stamp { return wire.Stamp{} }
func (quiet) Tell(string, wire.Stamped)            {}
func (quiet) Seq() uint64                          { return 0 }
func (quiet) Health() wire.StoreHealth             { return wire.StoreHealth{OK: true} }

// BenchmarkBoot takes a machine from its start to OPERATIONAL, with notifiers of this process that accept.
func BenchmarkBoot(b *testing.B) {
	for _, notifiers := range []int{0, 1, 10, 100, 1000} {
		b.Run(fmt.Sprint(notifiers), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				arrived := make(chan struct{})
				m := NewMachine(Options{Boot: "1-bench", Clock: &Sim{}, Journal: quiet{}, Entered: func(s wire.State) {
					if s == wire.Operational {
						close(arrived)
					}
				}})
				accept := func(context.Context, wire.Question) wire.Answer { return wire.Answer{Answer: wire.Accept} }
				for i := range notifiers {
					if err := m.Add(Notifier{Name: fmt.Sprintf("member-%d", i), Ask: accept}); err != nil {
						b.Fatal(err)
					}
				}
				ctx, cancel := context.WithCancel(b.Context())
				ended := make(chan error, 1)
				go func() { ended <- m.Run(ctx) }()
				<-arrived
				cancel()
				if err := <-ended; err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
