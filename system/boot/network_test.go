package boot

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"muster/system"
	"muster/wire"
)

// wires is a network that is played.
type wires struct {
	now      []Fact
	pictures chan []Fact
	cut      chan error // ends a Watch
}

func newWires(now ...Fact) *wires {
	return &wires{now: now, pictures: make(chan []Fact), cut: make(chan error)}
}

// Watch implements NetworkSource.
func (w *wires) Watch(ctx context.Context, tell func([]Fact)) error {
	for {
		select {
		case picture := <-w.pictures:
			tell(picture)
		case err := <-w.cut:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// show has everybody see the network as it is.
func (w *wires) show() {
	w.pictures <- slices.Clone(w.now)
	synctest.Wait()
}

// add has these be so, and shows it. Of a link the last fact counts.
func (w *wires) add(facts ...Fact) {
	w.now = append(w.now, facts...)
	w.show()
}

// drop has this be so no longer, and shows it.
func (w *wires) drop(f Fact) {
	w.now = slices.DeleteFunc(w.now, func(other Fact) bool { return other == f })
	w.show()
}

// Some facts.
var (
	lo   = Fact{Kind: Link, Index: 1, Name: "lo", Up: true}
	eth0 = Fact{Kind: Link, Index: 2, Name: "eth0", Up: true}
	down = Fact{Kind: Link, Index: 2, Name: "eth0"}
	ip   = Fact{Kind: Address, Index: 2, Value: "192.0.2.7/24"}
	gw   = Fact{Kind: Route, Index: 2, Value: "192.0.2.1"}
)

// connected boots a machine with that network.
func connected(t *testing.T, w *wires, falls bool, interfaces ...string) *rig {
	t.Helper()
	r := newRig(t)
	opts := NetworkOptions{Source: w, Gate: r, Teller: r, Interfaces: interfaces, Patience: 2 * time.Minute}
	if falls {
		opts.FallBack = r
	}
	r.boot(NewNetwork(opts))
	return r
}

// TestNetworkComes brings a network up piece by piece, and shows what is said to be missing.
func TestNetworkComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWires()
		r := connected(t, w, false)
		r.wantStands("COLLECTING_STDIN; network: the interfaces are not listed yet since 0s")
		w.add(lo, down)
		r.wantStands("IFACE_COLDPLUG; network: eth0 has no link since 0s")
		w.add(eth0)
		r.after(12 * time.Second)
		r.wantStands("IFACE_COLDPLUG; network: no address of global scope on eth0 since 10s")
		w.add(ip)
		r.wantStands("IFACE_COLDPLUG; network: no default route on eth0 since 12s")
		w.add(gw)
		r.wantStands("OPERATIONAL")
		r.wantTold(
			`sys.network.link of lo: "" > "up"`, `sys.network.link of eth0: "" > "down"`, `sys.network.link of eth0: "down" > "up"`,
			`sys.network.address of eth0: "" > "192.0.2.7/24"`, `sys.network.route of eth0: "" > "192.0.2.1"`,
			"sys.network.online: offline > online, ",
		)
	})
}

// TestNetworkIsThere finds everything as it is listed.
func TestNetworkIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWires()
		r := connected(t, w, false, "wwan0", "eth0")
		w.add(ip, gw, lo, eth0)
		r.wantStands("OPERATIONAL")
	})
}

// TestNetworkMissing has networks that never come: the device goes on without, and that is told.
func TestNetworkMissing(t *testing.T) {
	for name, c := range map[string]struct {
		say        []Fact
		cut        error
		interfaces []string
		want       string
	}{
		"nothing":   {[]Fact{lo}, nil, nil, "IFACE_COLDPLUG; network: there is no interface but lo since "},
		"another":   {[]Fact{lo, eth0, ip, gw}, nil, []string{"wwan0"}, "COLLECTING_STDIN; network: there is no interface wwan0 since "},
		"no route":  {[]Fact{lo, eth0, ip}, nil, nil, "IFACE_COLDPLUG; network: no default route on eth0 since "},
		"not heard": {nil, errors.New("operation not permitted"), nil, "COLLECTING_STDIN; network: the network cannot be listened to: operation not permitted since "},
		"silent":    {nil, nil, nil, "COLLECTING_STDIN; network: the interfaces are not listed yet since "},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWires()
				r := connected(t, w, false, c.interfaces...)
				if c.say != nil {
					w.add(c.say...)
				}
				if c.cut != nil {
					w.cut <- c.cut
				}
				r.after(100 * time.Second)
				if got := r.stands(); len(got) < len(c.want) || got[:len(c.want)] != c.want {
					t.Errorf("the machine is at %s, want %s", got, c.want)
				}
				r.after(5 * time.Minute)
				r.wantStands("OPERATIONAL")
				r.mu.Lock()
				last := r.told[len(r.told)-1]
				r.mu.Unlock()
				if want := "; the device goes on without (degraded)"; len(last) < len(want) || last[len(last)-len(want):] != want {
					t.Errorf("told last %q, want it to say that the device goes on without", last)
				}
			})
		})
	}
}

// TestNetworkLost takes pieces away: a short loss is told and does nothing else, a long one has the device fall back.
func TestNetworkLost(t *testing.T) {
	for name, lost := range map[string]Fact{"link": eth0, "address": ip, "route": gw} {
		for _, falls := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWires(lo, eth0, ip, gw)
					r := connected(t, w, falls)
					w.show()
					r.wantStands("OPERATIONAL")
					for range 5 { // flapping
						w.drop(lost)
						r.after(4 * time.Second)
						w.add(lost)
						r.wantStands("OPERATIONAL")
						r.after(time.Minute)
					}
					w.drop(lost)
					r.after(5 * time.Second)
					if stands := r.stands(); falls == (stands == "OPERATIONAL") {
						t.Errorf("after a loss of 5 s the machine is at %s", stands)
					}
					w.add(lost)
					r.soon()
					r.wantStands("OPERATIONAL")
				})
			})
		}
	}
}

// TestNetworkUnplugged takes the only interface that will do away, as a modem on USB goes: the device falls back all the same, and
// waits for it below.
func TestNetworkUnplugged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWires(lo, eth0, ip, gw)
		r := connected(t, w, true, "eth0")
		w.show()
		r.wantStands("OPERATIONAL")
		w.now = []Fact{lo}
		w.show()
		r.after(5 * time.Second)
		r.wantStands("IFACE_COLDPLUG; network: there is no interface eth0 since 5s")
		w.add(eth0, ip, gw)
		r.soon()
		r.wantStands("OPERATIONAL")
	})
}

// TestNetworkLostMeanwhile loses the network where no fall back is possible: the device falls back when it is.
func TestNetworkLostMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWires(lo, eth0, ip, gw)
		r := connected(t, w, true)
		w.show()
		r.wantStands("OPERATIONAL")
		r.update()
		w.drop(gw)
		r.after(30 * time.Second)
		r.wantStands("AWAITING_MODAL_UPDATING")
		r.after(time.Minute)
		r.wantHeld("IFACE_COLDPLUG; network: no default route on eth0")
		w.add(gw)
		r.soon()
		r.wantStands("OPERATIONAL")

		r.update()
		w.drop(gw)
		r.after(30 * time.Second)
		w.add(gw)
		r.after(5 * time.Minute)
		r.wantStands("OPERATIONAL")
		r.wantEntered("AWAITING_MODAL_UPDATING", "OPERATIONAL")
	})
}

// TestNetworkGivesUpOnce has somebody else hold the state that the network is not waited for any longer: that is told once, and not
// in every round.
func TestNetworkGivesUpOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWires(lo)
		r := newRig(t)
		busy := system.Notifier{Name: "busy", States: []wire.State{wire.IfaceColdplug}, Ask: func(context.Context, wire.Question) wire.Answer {
			return deferredFor("busy", refresh)
		}}
		if err := r.Add(busy); err != nil {
			t.Fatal(err)
		}
		r.boot(NewNetwork(NetworkOptions{Source: w, Gate: r, Teller: r, Interfaces: []string{"eth0"}, Patience: time.Minute}))
		w.show()
		r.after(5 * time.Minute)
		r.wantStands("COLLECTING_STDIN; busy: busy")
		r.wantTold(
			`sys.network.link of lo: "" > "up"`,
			"sys.network.online: offline > offline, there is no interface eth0 since 1m0s; the device goes on without (degraded)",
		)
	})
}

// TestNetworkHeardAgain loses the source, not the network: what changed meanwhile is told when it is heard again, and
// nothing else.
func TestNetworkHeardAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWires(lo, eth0, ip, gw)
		r := connected(t, w, true)
		w.show()
		r.wantStands("OPERATIONAL")
		r.mu.Lock()
		r.told = nil
		r.mu.Unlock()
		for range 3 {
			w.cut <- errors.New("no buffer space available")
			r.after(2 * time.Minute)
			r.wantStands("OPERATIONAL")
			w.show()
		}
		w.cut <- nil
		r.after(2 * time.Second)
		w.drop(ip)
		w.add(Fact{Kind: Address, Index: 2, Value: "192.0.2.8/24"})
		r.wantStands("OPERATIONAL")
		r.wantTold(
			`sys.network.address of eth0: "192.0.2.7/24" > ""`, "sys.network.online: online > offline, no address of global scope on eth0",
			`sys.network.address of eth0: "" > "192.0.2.8/24"`, "sys.network.online: offline > online, ",
		)
	})
}

// TestFactsOfANamelessLink has what hangs on an interface that is not in the picture: it is not told.
func TestFactsOfANamelessLink(t *testing.T) {
	direct := Fact{Kind: Route, Index: 2}
	nameless, whole := factsOf([]Fact{ip, ip, direct}), factsOf([]Fact{ip, direct, eth0})
	if c := nameless.changes(nil); len(c) > 0 {
		t.Errorf("told is %+v of an interface that nobody knows", c)
	}
	if c := whole.changes(nameless); len(c) != 3 || c[0].New != "up" || c[1].New != "192.0.2.7/24" || c[2].New != "direct" {
		t.Errorf("told is %+v, want the link, the address and the route without a gateway", c)
	}
	if c := nameless.changes(whole); len(c) != 3 || c[0].Interface != "eth0" || c[0].Old != "up" || c[2].New != "" {
		t.Errorf("told is %+v, want that all of eth0 is gone", c)
	}
}

// TestNetworkRerouted calls when default routes change, before the device goes on because of one, and for nothing else.
func TestNetworkRerouted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWires()
		r := newRig(t)
		calls := 0
		r.boot(NewNetwork(NetworkOptions{Source: w, Gate: r, Teller: r, Rerouted: func() {
			if calls++; calls == 1 && len(r.events) > 0 && r.events[len(r.events)-1] != "IFACE_COLDPLUG" {
				t.Errorf("called first when the device was in %v", r.events)
			}
		}}))
		w.add(lo, eth0, ip)
		if calls != 0 {
			t.Errorf("%d calls without a route", calls)
		}
		w.add(gw)
		w.show()
		if calls != 1 {
			t.Errorf("%d calls when there is a route", calls)
		}
		w.drop(ip)
		w.drop(gw)
		w.add(ip, Fact{Kind: Route, Index: 2, Value: "192.0.2.2"})
		if calls != 3 {
			t.Errorf("%d calls when it has gone and another has come", calls)
		}
	})
}
