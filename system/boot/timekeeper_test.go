package boot

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"muster/system"
	"muster/wire"
)

// hands is a wall clock that can be set, in a bubble. It begins in 1970, as one does whose battery is empty.
type hands struct {
	start time.Time

	mu    sync.Mutex
	off   time.Duration // of the bubble's own
	fault error
	sets  int
}

func newHands() *hands {
	now := time.Now()
	return &hands{start: now, off: time.Unix(9, 0).Sub(now)}
}

// Now implements system.Clock.
func (h *hands) Now() (wire.UnixMicros, wire.MonoMicros) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return wire.At(time.Now().Add(h.off)), wire.MonoMicros(time.Since(h.start).Microseconds())
}

// SetClock implements SettableClock.
func (h *hands) SetClock(at wire.UnixMicros) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fault == nil {
		h.off = time.Until(at.Time())
		h.sets++
	}
	return h.fault
}

// turn is somebody else who sets the clock.
func (h *hands) turn(by time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.off += by
}

// fail has the clock be set no longer.
func (h *hands) fail(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fault = err
}

// wantSet holds the clock against the time that it is, and how often it was set.
func (h *hands) wantSet(t *testing.T, times int) {
	t.Helper()
	at, _ := h.Now()
	if off := at.Time().Sub(today.Add(time.Since(h.start))); off.Abs() > time.Millisecond || h.sets != times {
		t.Errorf("the clock is off by %v after it was set %d times; want %d times", off, h.sets, times)
	}
}

// say is what a played server does.
type say func(ctx context.Context) (Reading, error)

// right says what time it is: today, when the bubble began. It may be told to be off.
func right(off time.Duration) say {
	return func(context.Context) (Reading, error) {
		return Reading{Zero: today.Add(off), Error: time.Millisecond, Bound: 10 * time.Millisecond}, nil
	}
}

// fails says nothing, and why.
func fails(err error) say { return func(context.Context) (Reading, error) { return Reading{}, err } }

// silent is asked in vain.
func silent(ctx context.Context) (Reading, error) {
	if !pause(ctx, askBudget) {
		return Reading{}, ctx.Err()
	}
	return Reading{}, errors.New("no answer within 5s")
}

// servers are a TimeSource that is played.
type servers struct {
	mu    sync.Mutex
	say   map[string]say
	asked []time.Time
}

// Ask implements TimeSource.
func (s *servers) Ask(ctx context.Context, server string) (Reading, error) {
	s.mu.Lock()
	says := s.say[server]
	s.asked = append(s.asked, time.Now())
	s.mu.Unlock()
	if says == nil {
		return Reading{}, errors.New(server + ": no such host")
	}
	return says(ctx)
}

func (s *servers) play(server string, says say) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.say[server] = says
}

// count gives how often servers were asked since it was looked last.
func (s *servers) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.asked = nil }()
	return len(s.asked)
}

// label is the blob ntp-server.
type label struct {
	mu   sync.Mutex
	text string
	err  error
}

const unset = "pool.ntp.org" // the default of the blob

// Get implements BlobReader.
func (l *label) Get(_ context.Context, _ wire.Caller, r wire.BlobRange) (wire.BlobPart, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.Name != "ntp-server" || r.Index != 0 {
		return wire.BlobPart{}, errors.New("another blob is read")
	}
	part := wire.BlobPart{Data: []byte(l.text[:min(int64(len(l.text)), *r.Length)]), Source: wire.SourceKV}
	if l.text == unset {
		part.Source = wire.SourceDefault
	}
	return part, l.err
}

func (l *label) write(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text, l.err = text, nil
}

func (l *label) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

// blank is a blob of which nothing is read.
func (l *label) blank(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text, l.err = "", err
}

// keeper is a machine that is booted with a Timekeeper.
type keeper struct {
	*rig
	*servers
	hands *hands
	label *label
}

func keeping(t *testing.T, named string, say map[string]say, change ...func(*TimekeeperOptions)) *keeper {
	t.Helper()
	k := &keeper{rig: newRig(t), servers: &servers{say: say}, hands: newHands(), label: &label{text: named}}
	opts := TimekeeperOptions{
		Clock: k.hands, Blobs: k.label, Source: k.servers, Gate: k.rig, Teller: k.rig, Earliest: made, Patience: 2 * time.Minute,
	}
	for _, c := range change {
		c(&opts)
	}
	k.boot(NewTimekeeper(opts))
	return k
}

// falls has the device fall back; w is the machine, once there is one.
func falls(o *TimekeeperOptions) { o.FallBack = o.Gate.(Wisher) }

const (
	away     = "20811 days" // from 1970 to today
	setFirst = "sys.network.clock: unknown > valid, set by " + away + ", says a"
)

func TestTimekeeperSets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := keeping(t, "a", map[string]say{"a": right(0)})
		k.wantStands("OPERATIONAL")
		k.wantTold(setFirst)
		k.hands.wantSet(t, 1)
		k.count()
		k.after(24 * time.Hour)
		if n := k.count(); n < 76 || n > 100 {
			t.Errorf("asked %d times in a day in which nothing happened", n)
		}
		k.hands.wantSet(t, 1)
		k.play("a", right(400*time.Millisecond)) // the clock of the device was slow
		k.after(20 * time.Minute)
		k.wantTold()
		if k.hands.sets != 2 {
			t.Errorf("set %d times", k.hands.sets)
		}
		k.play("a", right(0))
		k.after(19 * time.Minute)
		k.hands.wantSet(t, 3)
	})
}

// TestTimekeeperFaults has servers that are of no use: the device is held, is told why, and goes on without when its
// patience is over. When they have come to their senses the clock is set all the same.
func TestTimekeeperFaults(t *testing.T) {
	for name, c := range map[string]struct {
		named string
		a, b  say
		want  string
	}{
		"none named":  {" , ", nil, nil, "no server for the time is set in the blob ntp-server"},
		"none set":    {unset, nil, nil, "no server for the time is set in the blob ntp-server"},
		"three named": {"a,b c", nil, nil, "the blob ntp-server names 3 servers, where one or two would be right,"},
		"nonsense":    {"a;rm", nil, nil, `"a;rm" in the blob ntp-server is no server; a name or an address would be right`},
		"missing":     {"a", nil, nil, "no time from a (a: no such host)"},
		"slow":        {"a", silent, nil, "no time from a (no answer within 5s)"},
		"left alone":  {"a", fails(&KissError{Code: "RATE"}), nil, "no time from a (it wants to be left alone, RATE)"},
		"lying, past": {
			"a", right(-365 * 24 * time.Hour), nil,
			"no time from a (it says 2025-12-24T00:00:00Z, before this version was made, 2026-11-24T00:00:00Z)",
		},
		"lying, future": {
			"a", right(40 * 365 * 24 * time.Hour), nil,
			"no time from a (it says 2066-12-14T00:00:00Z, more than 30 years after this version was made, 2026-11-24T00:00:00Z)",
		},
		"not agreeing": {
			"b, a", right(0), right(time.Hour),
			"a and b do not agree (2026-12-24T00:00:00Z and 2026-12-24T01:00:00Z, a difference of 1h0m0s)",
		},
		"one of two is missing": {"a b", right(0), nil, "no time from b (b: no such host)"},
		"both are missing":      {"a b", nil, silent, "no time from a (a: no such host), no time from b (no answer within 5s)"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := keeping(t, c.named, map[string]say{"a": c.a, "b": c.b})
				k.after(6 * time.Second)
				if got := k.stands(); !strings.HasPrefix(stampless(got), "CPD_PRE_TIME; clock: "+c.want+" since ") {
					t.Errorf("the machine is at\n%s\nwant it held by\n%s", got, c.want)
				}
				k.after(2*time.Minute - 7*time.Second)
				if got := k.stands(); !strings.HasPrefix(got, "CPD_PRE_TIME; clock: ") {
					t.Errorf("the machine is at %s before its patience is over", got)
				}
				k.after(2 * time.Second)
				k.wantStands("OPERATIONAL")
				last := k.last()
				if !strings.HasSuffix(last, "; the device goes on without the time (degraded)") || !strings.Contains(last, "invalid > invalid") {
					t.Errorf("told last %q", last)
				}
				k.play("a", right(0))
				k.label.write("a")
				k.after(16 * time.Minute)
				k.wantTold("sys.network.clock: invalid > valid, set by " + away + ", says a")
				k.hands.wantSet(t, 1)
			})
		})
	}
}

// stampless takes the seconds off the times that servers say, which go on.
func stampless(text string) string {
	for s := range 60 {
		text = strings.ReplaceAll(text, fmt.Sprintf("00:%02dZ", s), "00:00Z")
	}
	return text
}

// TestTimekeeperNamed is told of a server while it holds for want of one.
func TestTimekeeperNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := keeping(t, "", map[string]say{"a": right(0)})
		k.label.fail(errors.New("the disk is gone"))
		k.after(10*time.Second + time.Millisecond)
		k.wantStands("CPD_PRE_TIME; clock: no server for the time is set in the blob ntp-server since 10s")
		k.label.write("a\n")
		k.after(nearSoon)
		k.soon()
		k.wantStands("OPERATIONAL")
		k.hands.wantSet(t, 1)
	})
}

// TestTimekeeperUnread has the blob be unreadable for a while: the servers that are known are asked, and what is known of the time
// still counts, so that a server which changes its mind meanwhile is not believed.
func TestTimekeeperUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := keeping(t, "a", map[string]say{"a": right(0)})
		k.wantStands("OPERATIONAL")
		k.after(time.Hour)
		k.label.blank(errors.New("the disk is slow"))
		k.play("a", right(time.Hour))
		k.after(4 * time.Minute)
		k.label.write("a")
		k.after(time.Minute)
		k.hands.wantSet(t, 1)
		k.label.blank(errors.New("the disk is slow"))
		k.play("a", right(0))
		k.count()
		k.after(2 * 24 * time.Hour)
		k.wantStands("OPERATIONAL")
		k.wantTold(setFirst)
		if n := k.count(); n < 150 || n > 200 {
			t.Errorf("asked %d times in two days; 150 to 200 times would be right", n)
		}
	})
}

// TestTimekeeperWaits has no network for ten minutes, in which nobody is asked; then somebody is at once.
func TestTimekeeperWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := keeping(t, "a", map[string]say{"a": right(0)}, func(o *TimekeeperOptions) {
			until := time.Now().Add(10 * time.Minute)
			if err := o.Gate.(*rig).Add(system.Notifier{
				Name: "net", States: []wire.State{wire.DHCP}, Ask: func(context.Context, wire.Question) wire.Answer {
					if time.Until(until) > 0 {
						return deferredFor("no network", refresh)
					}
					return accepted
				},
			}); err != nil {
				t.Fatal(err)
			}
		})
		k.after(10*time.Minute - 5*time.Second)
		k.wantStands("IFACE_COLDPLUG; net: no network")
		if n := k.count(); n != 0 {
			t.Errorf("asked %d times before there is a network", n)
		}
		k.after(time.Minute)
		k.wantStands("OPERATIONAL")
	})
}

// TestTimekeeperBackoff counts how often servers are asked that do not answer.
func TestTimekeeperBackoff(t *testing.T) {
	for name, c := range map[string]struct {
		says        say
		least, most int
	}{
		"missing":    {nil, 60, 75},
		"left alone": {fails(&KissError{Code: "DENY"}), 4, 6},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := keeping(t, "a", map[string]say{"a": c.says})
				k.after(time.Hour)
				if n := k.count(); n < c.least || n > c.most {
					t.Errorf("asked %d times in an hour; want %d to %d", n, c.least, c.most)
				}
			})
		})
	}
}

// TestTimekeeperLost has the servers go silent for good: the clock is believed for a day.
func TestTimekeeperLost(t *testing.T) {
	for _, change := range [][]func(*TimekeeperOptions){nil, {falls}} {
		synctest.Test(t, func(t *testing.T) {
			k := keeping(t, "a", map[string]say{"a": right(0)}, change...)
			k.wantStands("OPERATIONAL")
			k.wantTold(setFirst)
			k.play("a", nil)
			k.after(23 * time.Hour)
			k.wantTold()
			k.after(90 * time.Minute)
			k.wantFirst("sys.network.clock: valid > invalid, no time from a (a: no such host)")
			if len(change) == 0 {
				k.wantStands("OPERATIONAL")
			}
			k.play("a", right(0))
			k.after(2 * time.Minute)
			k.wantStands("OPERATIONAL")
		})
	}
}

// wantFirst holds the first event since the last call against what is expected, whatever came of it.
func (k *keeper) wantFirst(want string) {
	k.t.Helper()
	k.rig.mu.Lock()
	defer k.rig.mu.Unlock()
	if len(k.told) == 0 || k.told[0] != want {
		k.t.Errorf("told %q; want first %q", k.told, want)
	}
	k.told = nil
}

// TestTimekeeperTurned has somebody else set the clock.
func TestTimekeeperTurned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := keeping(t, "a", map[string]say{"a": right(0)}, falls)
		k.wantStands("OPERATIONAL")
		k.wantTold(setFirst)
		k.after(time.Hour + time.Second)
		k.hands.turn(-time.Hour)
		k.after(nearLater)
		k.wantTold("sys.network.clock: valid > unknown, the clock was set by -1h0m0s, and not from here,",
			"sys.network.clock: unknown > valid, set by 1h0m0s, says a")
		k.wantStands("OPERATIONAL")
		k.hands.wantSet(t, 2)
		k.play("a", nil)
		k.hands.turn(time.Minute)
		k.after(nearLater + 5*time.Second)
		k.wantTold("sys.network.clock: valid > unknown, the clock was set by 1m0s, and not from here,",
			"sys.network.clock: unknown > invalid, no time from a (a: no such host)")
		if got := k.stands(); !strings.HasPrefix(got, "CPD_PRE_TIME; clock: no time from a (a: no such host) since ") {
			t.Errorf("the machine is at %s", got)
		}
		k.play("a", right(0))
		k.after(time.Minute)
		k.wantStands("OPERATIONAL")
		k.hands.wantSet(t, 3)
	})
}

// TestTimekeeperFlaps has a server that answers now and then, and one that tells another time each time.
func TestTimekeeperFlaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := keeping(t, "a", map[string]say{"a": right(0)}, falls)
		k.wantStands("OPERATIONAL")
		k.wantTold(setFirst)
		for i := range 50 {
			k.play("a", nil)
			if i%2 == 0 {
				k.play("a", right(0))
			}
			k.after(17 * time.Minute)
		}
		for i := range 50 {
			k.play("a", right(time.Duration(i%3)*2*time.Hour))
			k.after(3 * time.Minute)
		}
		k.wantTold()
		k.hands.wantSet(t, 1)
		k.wantStands("OPERATIONAL")
	})
}

// TestTimekeeperInsists has a server change its mind, and stay with it.
func TestTimekeeperInsists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := keeping(t, "a", map[string]say{"a": right(2 * time.Hour)})
		k.wantStands("OPERATIONAL")
		k.play("a", right(0))
		k.after(18*time.Minute + insist + time.Minute)
		k.wantTold("sys.network.clock: unknown > valid, set by 20811 days, says a", "sys.network.clock: valid > valid, set by -2h0m0s, says a")
		k.hands.wantSet(t, 2)
		k.play("b", right(3*time.Hour)) // another server is believed at once
		k.label.write("b")
		k.after(nearLater)
		k.wantTold("sys.network.clock: valid > valid, set by 3h0m0s, says b")
	})
}

// TestTimekeeperMayNot has a clock that this process may not set.
func TestTimekeeperMayNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := keeping(t, "a", map[string]say{"a": right(0)})
		k.hands.fail(errors.New("this daemon may not set the clock"))
		k.hands.turn(-time.Hour)
		k.after(nearLater)
		k.wantTold(setFirst, "sys.network.clock: valid > unknown, the clock was set by -1h0m0s, and not from here,",
			"sys.network.clock: unknown > invalid, the clock is off by 1h0m0s, says a, and cannot be set (this daemon may not set the clock)")
		k.hands.turn(time.Hour + 500*time.Millisecond)
		k.after(time.Minute + 15*time.Second)
		k.wantTold("sys.network.clock: invalid > valid, set by -500ms, says a")
	})
}

// TestTimekeeperSchedules plays faults at random, with the clock turned in between. When they are over, the device gets
// there and has the time.
func TestTimekeeperSchedules(t *testing.T) {
	for seed := range uint64(100) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 5))
			faults := []say{
				nil, silent, fails(&KissError{Code: "RATE"}), right(-365 * 24 * time.Hour), right(time.Hour), right(0), fails(errors.New("garbage")),
			}
			k := keeping(t, "a, b", map[string]say{}, falls)
			for range 12 {
				k.play("a", faults[random.IntN(len(faults))])
				k.play("b", faults[random.IntN(len(faults))])
				if random.IntN(4) == 0 {
					k.hands.turn(time.Duration(random.IntN(7200)-3600) * time.Second)
				}
				k.after(time.Duration(random.IntN(300)) * time.Second)
			}
			k.play("a", right(0))
			k.play("b", right(time.Millisecond))
			k.after(time.Hour)
			k.wantStands("OPERATIONAL")
			k.hands.wantSet(t, k.hands.sets)
		})
	}
}

func TestParseServers(t *testing.T) {
	for text, want := range map[string]string{
		"pool.ntp.org": "[pool.ntp.org]", "b,a": "[a b]", " a\n b\r\n": "[a b]", "a a": "[a]", "[::1]:123, 10.0.0.1:5": "[10.0.0.1:5 [::1]:123]",
		"": "no server for the time is set in the blob ntp-server", "ä": `"ä" in the blob ntp-server is no server; a name or an address would be right`,
		strings.Repeat("x", 600): "the blob ntp-server has more than 532 bytes; one or two servers would be right",
	} {
		got, err := parseServers(text)
		if said := fmt.Sprint(got); err != nil && err.Error() != want || err == nil && said != want {
			t.Errorf("%q is read as %s, %v; want %s", text, said, err, want)
		}
	}
}

func FuzzParseServers(f *testing.F) {
	f.Add("a, b")
	f.Add("[fe80::1%eth0]:123")
	f.Fuzz(func(t *testing.T, text string) {
		names, err := parseServers(text)
		if err == nil && (len(names) < 1 || len(names) > 2) {
			t.Errorf("%q is read as %q", text, names)
		}
		if err != nil && len(err.Error()) > wire.MaxText {
			t.Errorf("%q is refused with %d bytes", text, len(err.Error()))
		}
	})
}
