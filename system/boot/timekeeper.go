package boot

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"muster/system"
	"muster/wire"
)

// Timekeeper sets the wall clock by the servers that the blob ntp-server names, for as long as the device runs, and holds
// TIME_VALID until it has. Two servers have to agree. What they say is measured against the clock that never jumps, so that
// it does not matter what the wall clock shows or who sets it meanwhile; when somebody else sets it, that is told, and it
// is set right. It speaks on sys.network.clock, as [Clock] does, and takes its place.
type Timekeeper struct {
	opts  TimekeeperOptions
	stand clockStand

	// Of Run alone.
	named     string          // what the blob named last
	known     *Reading        // what was believed last
	confirmed wire.MonoMicros // when that was
	odd       *Reading        // what is not believed yet
	oddSince  wire.MonoMicros // it is said
	failures  int             // in a row
	kissed    bool            // a server wants to be left alone
	settled   int             // answers in a row that changed nothing
	ahead     wire.Micros     // of the clock that never jumps, the wall clock
}

// TimekeeperOptions are the surroundings of a Timekeeper. Clock, Blobs, Gate and Teller are required; other zero values
// work.
type TimekeeperOptions struct {
	Clock    SettableClock
	Blobs    BlobReader    // of which ntp-server is read, again and again
	Source   TimeSource    // nil: [SNTP]
	Gate     Gate          //
	Teller   Teller        //
	FallBack Wisher        // where the device is to fall back to CPD_PRE_TIME when the time is lost; nil: it stays
	Earliest time.Time     // before any time that can be right; zero: there is none
	Patience time.Duration // after which the device goes on without the time; 0: never
	Log      *slog.Logger
}

// SettableClock is the clocks of a device. [system.Platform] is one, and decides whether a clock is stepped or slewed.
type SettableClock interface {
	system.Clock
	SetClock(at wire.UnixMicros) error
}

// BlobReader gives blobs.
type BlobReader interface {
	Get(ctx context.Context, caller wire.Caller, r wire.BlobRange) (wire.BlobPart, error)
}

// What is believed, and what is done about it.
const (
	yearsAhead = 30                     // of Earliest, beyond which no time can be right
	jump       = 1000 * time.Second     // by which a server that was believed must not change its mind
	insist     = 5 * time.Minute        // after which it is believed all the same, if it has said nothing else meanwhile
	mayDiffer  = 100 * time.Millisecond // two servers, beyond what each says that it may be wrong by
	tooSmall   = time.Millisecond       // to set a clock for
	tolerable  = time.Second            // for a clock that cannot be set
	holdover   = 24 * time.Hour         // for which a clock stays valid that nobody confirms
	setBySome  = 125 * time.Millisecond // by which a clock moves only when it is set
)

// When servers are asked. After failures it is after 1, 2, 4 … 60 s.
const (
	askSoon   = 64 * time.Second // while the clock is being corrected
	askLater  = 1024 * time.Second
	askKissed = 15 * time.Minute // after a server that wants to be left alone
	nearSoon  = time.Second      // between two looks at the blob and the clock while that is not valid
	nearLater = 10 * time.Second // and while it is
)

// NewTimekeeper makes a part that sets the wall clock.
func NewTimekeeper(opts TimekeeperOptions) *Timekeeper {
	if opts.Source == nil {
		opts.Source = SNTP{Clock: opts.Clock}
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	return &Timekeeper{opts: opts, stand: clockStand{
		gate: opts.Gate, teller: opts.Teller, log: opts.Log, state: clockUnknown,
		back:  wayBack{wisher: opts.FallBack, to: wire.CPDPreTime, log: opts.Log},
		asked: make(chan struct{}, 1), why: "no server has been asked for the time", since: time.Now(), hold: holding{patience: patience{limit: opts.Patience}},
	}}
}

// Notifier implements [Part].
func (k *Timekeeper) Notifier() system.Notifier {
	return k.stand.notifier("sets the wall clock by the servers of the blob ntp-server")
}

// Run implements [Part]. Nobody is asked before the device waits for the time, since there may be no network until then.
func (k *Timekeeper) Run(ctx context.Context) error {
	select {
	case <-k.stand.asked:
	case <-ctx.Done():
	}
	k.aheadNow()
	for ctx.Err() == nil {
		k.rest(ctx, jittered(k.measure(ctx)))
	}
	return nil
}

// jittered gives a time that is up to a tenth longer or shorter, so that not all devices ask at once.
func jittered(d time.Duration) time.Duration {
	return d + time.Duration((rand.Float64()-0.5)/5*float64(d))
}

// measure asks the servers, sets the clock, and tells after how long to do so again.
func (k *Timekeeper) measure(ctx context.Context) time.Duration {
	servers, err := k.servers(ctx)
	if err != nil {
		k.fail(ctx, err)
		return askLater // or when the blob changes
	}
	r, err := k.ask(ctx, servers)
	if err == nil {
		err = k.weigh(r)
	}
	switch {
	case ctx.Err() != nil:
		return 0
	case err != nil:
		k.failures, k.settled = k.failures+1, 0
		k.fail(ctx, err)
		if k.kissed = kissed(err); k.kissed {
			return askKissed
		}
		return backoff(k.failures)
	}
	k.known, k.odd, k.failures, k.kissed = &r, nil, 0, false
	_, k.confirmed = k.opts.Clock.Now()
	k.set(ctx, r)
	return min(askSoon<<min(k.settled, 4), askLater)
}

// servers gives those that the blob names. Others than before are believed without regard to what those said. While the blob cannot
// be read, they are the ones that it named last.
func (k *Timekeeper) servers(ctx context.Context) ([]string, error) {
	text, err := k.read(ctx)
	switch {
	case err != nil && k.named == "":
		return nil, err
	case err != nil:
		k.opts.Log.Warn("servers for the time not read; those named before are asked", "servers", k.named, "error", err)
	case text != k.named:
		k.named, k.known, k.odd, k.failures, k.settled = text, nil, nil, 0, 0
	}
	return parseServers(k.named)
}

// read gives what the blob has, or why that is nothing. Its default, which nobody has chosen, is not asked.
func (k *Timekeeper) read(ctx context.Context) (string, error) {
	most := int64(longestList + 1)
	part, err := k.opts.Blobs.Get(ctx, wire.Internal, wire.BlobRange{BlobKey: wire.BlobKey{Name: "ntp-server"}, Length: &most})
	if err != nil {
		return "", fmt.Errorf("the blob ntp-server cannot be read (%s)", lastWords(err.Error()))
	}
	if part.Source == wire.SourceDefault {
		return "", nil
	}
	return string(part.Data), nil
}

// fail takes note that there was no time to be had. A clock that was valid stays so for a while.
func (k *Timekeeper) fail(ctx context.Context, err error) {
	_, now := k.opts.Clock.Now()
	if k.stand.is() == clockValid && now.Sub(k.confirmed) < holdover {
		k.opts.Log.Warn("clock not confirmed", "reason", err)
		return
	}
	k.stand.become(ctx, clockInvalid, err.Error())
}

// weigh refuses what cannot be, and what is too far from what was believed before it is said for a while.
func (k *Timekeeper) weigh(r Reading) error {
	_, now := k.opts.Clock.Now()
	at, earliest := r.at(now), k.opts.Earliest
	switch {
	case at.Before(earliest):
		return fmt.Errorf("no time from %s (it says %s, before this version was made, %s)", r.Server, stamp(at), stamp(earliest))
	case !earliest.IsZero() && at.After(earliest.AddDate(yearsAhead, 0, 0)):
		return fmt.Errorf("no time from %s (it says %s, more than %d years after this version was made, %s)", r.Server, stamp(at), yearsAhead, stamp(earliest))
	case k.known == nil:
		return nil
	}
	off := r.Zero.Sub(k.known.Zero)
	if off.Abs() <= jump {
		return nil
	}
	if k.odd == nil || r.Zero.Sub(k.odd.Zero).Abs() > tolerable {
		k.oddSince = now
	}
	k.odd = &r
	if now.Sub(k.oddSince) >= insist {
		return nil
	}
	return fmt.Errorf("no time from %s (it says %s, which is off by %s, and is not believed before it has said so for %v)",
		r.Server, stamp(at), roundly(off), insist)
}

// set sets the clock to what a reading says.
func (k *Timekeeper) set(ctx context.Context, r Reading) {
	wall, now := k.opts.Clock.Now()
	at := r.at(now)
	off := at.Sub(wall.Time())
	if off.Abs() <= max(tooSmall, r.Error) {
		k.settled++
		k.stand.become(ctx, clockValid, "right, says "+r.Server)
		return
	}
	k.settled = 0
	err := k.opts.Clock.SetClock(wire.At(at))
	k.aheadNow()
	switch {
	case err != nil && off.Abs() > tolerable:
		k.failures++
		k.stand.become(ctx, clockInvalid, fmt.Sprintf("the clock is off by %s, says %s, and cannot be set (%s)",
			roundly(off), r.Server, lastWords(err.Error())))
		return
	case err != nil:
		k.opts.Log.Warn("clock not set", "by", off, "error", err)
	default:
		k.opts.Log.Info("clock set", "by", off, "server", r.Server)
	}
	set := fmt.Sprintf("set by %s, says %s", roundly(off), r.Server)
	if k.stand.is() == clockValid && off.Abs() > tolerable {
		k.stand.tell(Change{Old: clockValid, New: clockValid, Reason: set})
	}
	k.stand.become(ctx, clockValid, set)
}

// rest waits, unless the blob changes, somebody else sets the clock, or the device begins to wait for the time. The time that a
// device is suspended counts.
func (k *Timekeeper) rest(ctx context.Context, d time.Duration) {
	_, now := k.opts.Clock.Now()
	for until := now + wire.MonoMicros(wire.InMicros(d)); now < until; _, now = k.opts.Clock.Now() {
		near := nearSoon
		if k.stand.is() == clockValid {
			near = nearLater
		}
		look := time.NewTimer(min(near, until.Sub(now)))
		select {
		case <-look.C:
		case <-k.stand.asked:
			look.Stop()
			if !k.kissed {
				k.failures = 0
				return
			}
		case <-ctx.Done():
			look.Stop()
			return
		}
		if k.stepped(ctx) {
			return
		}
		k.stand.back.again(ctx)
		if text, err := k.read(ctx); err == nil && text != k.named {
			return
		}
	}
}

// stepped reports whether somebody else has set the clock since the last look.
func (k *Timekeeper) stepped(ctx context.Context) bool {
	by := k.aheadNow().Duration()
	if by.Abs() < setBySome {
		return false
	}
	k.opts.Log.Warn("clock set by somebody else", "by", by)
	k.settled = 0
	if k.stand.is() == clockValid {
		k.stand.become(ctx, clockUnknown, fmt.Sprintf("the clock was set by %s, and not from here,", roundly(by)))
	}
	return true
}

// aheadNow notes by how much the wall clock is ahead of the one that never jumps, and gives by how much that has grown.
func (k *Timekeeper) aheadNow() (grown wire.Micros) {
	wall, mono := k.opts.Clock.Now()
	before := k.ahead
	k.ahead = wire.Micros(wall) - wire.Micros(mono)
	return k.ahead - before
}

// stamp writes a time for people.
func stamp(at time.Time) string { return at.UTC().Format(time.RFC3339) }

// roundly gives a difference as people say it.
func roundly(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d.Abs() < time.Minute:
		return d.Round(time.Millisecond).String()
	case d.Abs() < 2*day:
		return d.Round(time.Second).String()
	}
	return fmt.Sprintf("%d days", d.Round(day)/day)
}
