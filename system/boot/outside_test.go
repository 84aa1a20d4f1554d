package boot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"muster/system/boot/policy"
	"muster/wire"
)

// fault is what may be wrong with something outside.
type fault int

const (
	well     fault = iota
	missing        // it is not there, or has nothing
	slow           // it says nothing at all
	lying          // what it says is wrong
	deaf           // it cannot be reached
	full           // nothing can be written
	flapping       // it comes and goes, which weather plays as missing and well
)

var faultNames = map[fault]string{
	well: "well", missing: "missing", slow: "slow", lying: "lying", deaf: "deaf", full: "full", flapping: "flapping",
}

func (f fault) String() string { return faultNames[f] }

// weather is what is wrong with one thing outside, and with what words the notifier that depends on it says so.
type weather struct {
	notifier string
	words    map[fault]string // only of the faults that it can have; several ones have | between them

	mu      sync.Mutex
	now     fault
	shown   fault // of flapping, which side
	lasting fault // is wrong for good, whatever it becomes
	had     []fault
	changed chan struct{} // closed when it changes
}

func newWeather(notifier string, words map[fault]string) *weather {
	return &weather{notifier: notifier, words: words, changed: make(chan struct{})}
}

// becomes changes it.
func (w *weather) becomes(f fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now, w.had = f, append(w.had, f)
	w.showLocked(f)
}

// flips has it show its other side, if it comes and goes.
func (w *weather) flips() {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.now != flapping:
	case w.shown == missing:
		w.showLocked(well)
	default:
		w.showLocked(missing)
	}
}

func (w *weather) showLocked(f fault) {
	if f == flapping {
		f = missing
	}
	w.shown = f
	close(w.changed)
	w.changed = make(chan struct{})
}

// is tells what it shows, which is never flapping, and gives what is closed when that changes.
func (w *weather) is() (fault, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.shown, w.changed
}

// look tells what it is, but waits for as long as that is slow.
func (w *weather) look(ctx context.Context) (fault, error) {
	for {
		f, changed := w.is()
		if f != slow {
			return f, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return slow, ctx.Err()
		}
	}
}

// lasts notes that something cannot be made good.
func (w *weather) lasts(f fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lasting = f
}

// explains reports whether a reason names what is wrong at the end. What has fallen silent is named by what it said last.
func (w *weather) explains(reason string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	faults := []fault{w.now, w.lasting}
	if w.now == slow || w.now == deaf || w.now == flapping {
		faults = append(faults, w.had...)
	}
	return slices.ContainsFunc(faults, func(f fault) bool {
		return f != well && slices.ContainsFunc(strings.Split(w.words[f], "|"), func(words string) bool {
			return words != "" && strings.Contains(reason, words)
		})
	})
}

// steady reports whether it stays as it is.
func (w *weather) steady() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now != flapping || w.lasting != well
}

// airwaves is a network in that weather.
type airwaves struct{ *weather }

// Watch implements NetworkSource.
func (a airwaves) Watch(ctx context.Context, tell func([]Fact)) error {
	for {
		f, changed := a.is()
		switch f {
		case missing:
			tell([]Fact{lo, down, ip, gw})
		case lying: // the interface says that it is up, and leads nowhere
			tell([]Fact{lo, eth0, ip})
		case deaf:
			return errors.New("netlink has had enough")
		case slow:
		default:
			tell([]Fact{lo, eth0, ip, gw})
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// sundial is a clock in that weather.
type sundial struct{ *weather }

// Look implements ClockSource.
func (s sundial) Look() (ClockLook, error) {
	switch f, err := s.look(context.Background()); f {
	case missing:
		return ClockLook{Now: today}, nil
	case lying:
		return ClockLook{Now: time.Unix(9, 0), Kernel: true}, nil
	case deaf:
		return ClockLook{}, os.NewSyscallError("adjtimex", syscall.ENOSYS)
	default:
		return ClockLook{Now: today, Kernel: true}, err
	}
}

// tower is a server for the time in that weather.
type tower struct{ *weather }

// Ask implements TimeSource.
func (t tower) Ask(ctx context.Context, _ string) (Reading, error) {
	switch f, _ := t.is(); f {
	case missing:
		return Reading{}, errors.New("no such host")
	case slow:
		return silent(ctx)
	case lying:
		return right(-50 * 365 * 24 * time.Hour)(ctx)
	case deaf:
		return Reading{}, &KissError{Code: "RATE"}
	default:
		return right(0)(ctx)
	}
}

// workshop runs programs in that weather.
type workshop struct{ *weather }

// Run implements Runner.
func (w workshop) Run(ctx context.Context, _ Program) (Exit, error) {
	for {
		f, changed := w.is()
		switch f {
		case missing:
			return Exit{Code: exitDefer, How: "exit status 21", Output: "the modem is not there\n"}, nil
		case lying:
			return Exit{Code: 7, How: "exit status 7", Output: "all is well\n"}, nil
		case deaf:
			return Exit{}, errors.New("fork: resource temporarily unavailable")
		case slow:
			select {
			case <-changed:
				continue
			case <-ctx.Done():
				return Exit{Code: -1, How: "signal: killed"}, ctx.Err()
			}
		default:
			return Exit{How: "exit status 0"}, nil
		}
	}
}

// drawer keeps records in that weather.
type drawer struct {
	*weather
	shelf
}

// Save implements Records.
func (d *drawer) Save(name string, data []byte) error {
	if f, _ := d.is(); f == full {
		return errors.New("no space left on device")
	}
	return d.shelf.Save(name, data)
}

// lectern is a source of policies in that weather.
type lectern struct{ *weather }

// Watch implements PolicySource.
func (l lectern) Watch(ctx context.Context, tell func(PolicyText, error)) error {
	for {
		f, changed := l.is()
		switch f {
		case missing:
			tell(PolicyText{}, errors.New("there is no policy at /p.toml"))
		case lying:
			tell(PolicyText{Origin: "the file", Format: policy.TOML, Text: []byte("version = 1\n")}, nil)
		case deaf:
			return errors.New("inotify has had enough")
		case slow:
		default:
			tell(edict("1", 1).text, nil)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// horizon is what is seen of the internet, by URL, each in a weather of its own.
type horizon map[string]*weather

// Look implements PortalProbe.
func (h horizon) Look(ctx context.Context, url string) PortalLook {
	switch f, _ := h[url].is(); f {
	case missing:
		return offline
	case slow:
		return slowly(2*lookBudget, free)(ctx)
	case lying:
		return captive
	default:
		return free
	}
}

// engraving is a serial on a board in that weather.
type engraving struct{ *weather }

// Serial implements SerialSource.
func (g engraving) Serial() (Serial, error) {
	if f, _ := g.is(); f == missing {
		return Serial{}, errors.New("the board is blank")
	}
	return Serial{Value: "SN-1", From: "the board"}, nil
}

// notary signs certificates in that weather.
type notary struct {
	*weather
	signs *authority
}

// Sign implements Authority.
func (n notary) Sign(ctx context.Context, r SigningRequest) ([]byte, error) {
	f, _ := n.is()
	if f == missing {
		return nil, errors.New("the enrolment server x answered 503")
	}
	n.signs.set(func() { n.signs.block, n.signs.other = f == slow, f == lying })
	return n.signs.Sign(ctx, r)
}

// minter gives tokens in that weather, each good for ten minutes.
type minter struct{ *weather }

// Fetch implements TokenSource.
func (m minter) Fetch(ctx context.Context) (AccessToken, error) {
	switch f, _ := m.is(); f {
	case missing:
		return AccessToken{}, errors.New("the token server x answered 503")
	case slow:
		<-ctx.Done()
		return AccessToken{}, errors.New("no answer from x")
	case lying:
		return AccessToken{Value: "<html> the token", Life: 10 * time.Minute}, nil
	default:
		return AccessToken{Value: "token", Life: 10 * time.Minute}, nil
	}
}

// pipe is a standard input in that weather. What has come out of it cannot be put back.
type pipe struct {
	*weather
	sent bool
}

// Read implements io.Reader.
func (p *pipe) Read(b []byte) (int, error) {
	switch f, err := p.look(context.Background()); {
	case err != nil:
		return 0, err
	case p.sent:
		return 0, io.EOF
	case f == missing:
		p.lasts(missing)
		return 0, io.EOF
	case f == lying:
		p.lasts(lying)
		return len(b), nil // without end
	}
	p.sent = true
	return copy(b, "secret"), nil
}

// cellar keeps blobs in that weather.
type cellar struct {
	*weather
	safe
}

// Set implements Store.
func (c *cellar) Set(ctx context.Context, who wire.Caller, w wire.BlobWrite) (wire.BlobWritten, error) {
	if f, _ := c.is(); f == full {
		return wire.BlobWritten{}, errors.New("no space left on device")
	}
	return c.safe.Set(ctx, who, wire.BlobWrite{BlobKey: w.BlobKey, Data: bytes.Clone(w.Data)})
}

// String tells what there has been.
func (w *weather) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return fmt.Sprintf("%s was %v, is %v, lastingly %v", w.notifier, w.had, w.now, w.lasting)
}
