package boot

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"muster/system"
	"muster/wire"
)

// rig is a real machine in a bubble, with a journal that remembers.
type rig struct {
	*system.Machine
	t     *testing.T
	start time.Time

	mu     sync.Mutex
	seq    uint64
	events []string // the states, in their order
	told   []string // by parts, one line each
}

// newRig makes a machine whose boot steps may be held as long as it takes.
func newRig(t *testing.T) *rig {
	r := &rig{t: t, start: time.Now()}
	r.Machine = system.NewMachine(system.Options{Boot: "1-x", Clock: r, Journal: r, Limits: system.DefaultLimits()})
	return r
}

// boot adds the parts, starts everything, and stops it when the test ends.
func (r *rig) boot(parts ...Part) {
	r.t.Helper()
	ctx, stop := context.WithCancel(r.t.Context())
	var running sync.WaitGroup
	for _, part := range parts {
		if err := r.Add(part.Notifier()); err != nil {
			r.t.Fatal(err)
		}
		running.Go(func() {
			if err := part.Run(ctx); err != nil {
				r.t.Errorf("Run: %v", err)
			}
		})
	}
	running.Go(func() {
		if err := r.Run(ctx); err != nil {
			r.t.Errorf("machine: %v", err)
		}
	})
	r.t.Cleanup(func() { stop(); running.Wait() })
	synctest.Wait()
}

// Now implements system.Clock.
func (r *rig) Now() (wire.UnixMicros, wire.MonoMicros) {
	return wire.At(time.Now()), wire.MonoMicros(time.Since(r.start).Microseconds())
}

// Keep implements system.Journal.
func (r *rig) Keep(subject string, event wire.Stamped) wire.Stamp {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seq++
	at, mono := r.Now()
	if e, ok := event.(*wire.StateEvent); ok && subject == wire.StateSubject {
		r.events = append(r.events, e.State.String())
	}
	return wire.Stamp{Boot: "1-x", At: at, Mono: mono, Seq: r.seq}
}

// Tell implements system.Journal and Teller.
func (r *rig) Tell(subject string, event wire.Stamped) {
	c, ok := event.(*Change)
	if !ok {
		return
	}
	text := fmt.Sprintf("%s: %s > %s, %s", subject, c.Old, c.New, c.Reason)
	if c.Interface != "" {
		text = fmt.Sprintf("%s of %s: %q > %q", subject, c.Interface, c.Old, c.New)
	}
	if c.Degraded {
		text += " (degraded)"
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = append(r.told, text)
}

// wantTold holds the events of parts since the last call against what is expected.
func (r *rig) wantTold(want ...string) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if diff := cmp.Diff(want, r.told); diff != "" {
		r.t.Errorf("told (-want +got):\n%s", diff)
	}
	r.told = nil
}

// heard gives the events of parts since they were held against something.
func (r *rig) heard() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.told)
}

// wantEntered holds the states since CPD_POST_TIME, or since the last call, against what is expected.
func (r *rig) wantEntered(want ...string) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(want) > 0 && want[0] == wire.CPDPostTime.String() {
		r.events = r.events[max(slices.Index(r.events, want[0]), 0):]
	}
	if diff := cmp.Diff(want, r.events, cmpopts.EquateEmpty()); diff != "" {
		r.t.Errorf("entered (-want +got):\n%s", diff)
	}
	r.events = nil
}

// last is the event of a part that was told last. It forgets them all.
func (r *rig) last() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() { r.told = nil }()
	return append([]string{""}, r.told...)[len(r.told)]
}

// Seq implements system.Journal.
func (r *rig) Seq() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seq
}

// Health implements system.Journal.
func (r *rig) Health() wire.StoreHealth { return wire.StoreHealth{OK: true} }

// stands is where the machine is: its state, and who holds the next one.
func (r *rig) stands() string {
	r.t.Helper()
	synctest.Wait()
	view, err := r.Get(r.t.Context(), wire.Internal, wire.Empty{})
	if err != nil {
		r.t.Fatal(err)
	}
	text := view.State.String()
	if view.Transition != nil {
		for _, h := range view.Transition.Holders {
			text += fmt.Sprintf("; %s: %s", h.Notifier, h.Reason)
		}
	}
	return text
}

// update has the device wait for an update, which it does for a minute and from where no fall back is possible.
func (r *rig) update() {
	r.t.Helper()
	r.mu.Lock()
	r.events = nil
	r.mu.Unlock()
	if _, err := r.Request(r.t.Context(), wire.Internal, wire.StateWish{Target: wire.AwaitingModalUpdating, Reason: "an update"}); err != nil {
		r.t.Fatal(err)
	}
}

// soon gives rounds time that are spaced after many of them.
func (r *rig) soon() { r.after(time.Second) }

// wantStands holds where the machine is against what is expected.
func (r *rig) wantStands(want string) {
	r.t.Helper()
	if got := r.stands(); got != want {
		r.t.Errorf("after %v the machine is at\n%s\nwant\n%s", time.Since(r.start), got, want)
	}
}

// wantHeld holds the beginning of where the machine is against what is expected. Between two rounds, which are spaced after many
// of them, nobody holds for up to a second.
func (r *rig) wantHeld(want string) {
	r.t.Helper()
	got := r.stands()
	for range 5 {
		if strings.HasPrefix(got, want) {
			return
		}
		r.after(time.Second / 4)
		got = r.stands()
	}
	r.t.Errorf("after %v the machine is at\n%s\nwant\n%s…", time.Since(r.start), got, want)
}

// after lets time pass.
func (r *rig) after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// run is what a played program does: see [Runner].
type run func(ctx context.Context, p Program) (Exit, error)

// played is a Runner whose programs are played, by the name of their file.
type played struct {
	mu   sync.Mutex
	runs map[string]run
	ran  []string // "name target"
	env  [][]string
}

// Run implements Runner.
func (p *played) Run(ctx context.Context, program Program) (Exit, error) {
	name := filepath.Base(program.Path)
	p.mu.Lock()
	p.ran = append(p.ran, strings.Join(append([]string{name}, program.Args...), " "))
	p.env = append(p.env, program.Env)
	do := p.runs[name]
	p.mu.Unlock()
	if do == nil {
		return Exit{}, errors.New(name + " has no part in this play")
	}
	return do(ctx, program)
}

// play gives a program another part.
func (p *played) play(name string, do run) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.runs[name] = do
}

// exits is a program that ends at once.
func exits(code int, output string) run {
	return func(context.Context, Program) (Exit, error) {
		return Exit{Code: code, How: fmt.Sprintf("exit status %d", code), Output: output}, nil
	}
}

// hangs is a program that ends only when it is killed.
func hangs(output string) run {
	return func(ctx context.Context, _ Program) (Exit, error) {
		<-ctx.Done()
		return Exit{Code: -1, How: "signal: killed", Output: output}, ctx.Err()
	}
}

// folder makes a folder of programs with those contents.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil { // whatever the umask
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// nobodyAt is an address that nobody answers at, over tcp or udp, nor can till the end of the test: it is the near end of a
// connection to somewhere else.
func nobodyAt(t *testing.T, network string) string {
	t.Helper()
	far, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = far.Close() })
	near, err := new(net.Dialer).DialContext(t.Context(), network, far.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = near.Close() })
	return near.LocalAddr().String()
}
