package boot

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"muster/wire"
)

// internet is what a probe sees, in a bubble: by URL.
type internet struct {
	mu    sync.Mutex
	looks map[string]func(ctx context.Context) PortalLook
	urls  []string // that were looked at
}

// Look implements PortalProbe.
func (i *internet) Look(ctx context.Context, url string) PortalLook {
	i.mu.Lock()
	look := i.looks[url]
	i.urls = append(i.urls, url)
	i.mu.Unlock()
	return look(ctx)
}

// play has URLs be seen otherwise.
func (i *internet) play(looks map[string]func(context.Context) PortalLook) {
	i.mu.Lock()
	defer i.mu.Unlock()
	maps.Copy(i.looks, looks)
}

// looked gives what was looked at since the last call.
func (i *internet) looked() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	defer func() { i.urls = nil }()
	return strings.Join(i.urls, " ")
}

// seen is an answer that comes at once.
func seen(look PortalLook) func(context.Context) PortalLook {
	return func(context.Context) PortalLook { return look }
}

// slowly is an answer that takes its time.
func slowly(d time.Duration, look PortalLook) func(context.Context) PortalLook {
	return func(ctx context.Context) PortalLook {
		if !pause(ctx, d) {
			return PortalLook{Result: wire.PortalNoInternet, Why: "no answer from x within 5s"}
		}
		return look
	}
}

const (
	plainURL  = "http://x/"
	secureURL = "https://x/"
)

var (
	free    = PortalLook{Result: wire.PortalOK}
	captive = PortalLook{Result: wire.PortalCaptive, Why: "a captive portal answers 302 for x and names http://p/", URL: "http://p/"}
	offline = PortalLook{Result: wire.PortalNoInternet, Why: "no answer from x (connection refused)"}
)

// lookout is a machine that is booted with a Portal.
type lookout struct {
	*rig
	*internet
	portal *Portal
}

func looking(t *testing.T, http, https func(context.Context) PortalLook, change ...func(*PortalOptions)) *lookout {
	t.Helper()
	l := &lookout{rig: newRig(t), internet: &internet{looks: map[string]func(context.Context) PortalLook{plainURL: http, secureURL: https}}}
	opts := PortalOptions{HTTP: plainURL, HTTPS: secureURL, Probe: l.internet, Gate: l.rig, Teller: l.rig, Patience: 2 * time.Minute}
	for _, c := range change {
		c(&opts)
	}
	l.portal = NewPortal(opts)
	l.boot(l.portal)
	return l
}

// wantLooked holds what was looked at since the last call against what is expected.
func (l *lookout) wantLooked(want string) {
	l.t.Helper()
	if got := l.looked(); got != want {
		l.t.Errorf("looked at %q, want %q", got, want)
	}
}

// request is somebody who asks for a look.
func (l *lookout) request() wire.CaptivePortal {
	l.t.Helper()
	got, err := l.portal.Look(l.t.Context(), wire.Internal, wire.Empty{})
	if err != nil {
		l.t.Fatal(err)
	}
	return got
}

const (
	toFree    = "sys.network.portal: unknown > ok, "
	toCaptive = "sys.network.portal: ok > captive, a captive portal answers 302 for x and names http://p/"
	wasFreed  = "sys.network.portal: captive > ok, "
)

// TestPortalFree finds the way free: with HTTP, then again with both, and never again.
func TestPortalFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := looking(t, seen(free), seen(free))
		l.wantStands("OPERATIONAL")
		l.wantTold(toFree)
		l.wantLooked("http://x/ http://x/ https://x/")
		l.after(24 * time.Hour)
		l.wantLooked("")
	})
}

// TestPortalOne has one URL only.
func TestPortalOne(t *testing.T) {
	for url, without := range map[string]func(*PortalOptions){
		plainURL: func(o *PortalOptions) { o.HTTPS = "" }, secureURL: func(o *PortalOptions) { o.HTTP = "" },
	} {
		synctest.Test(t, func(t *testing.T) {
			l := looking(t, seen(free), seen(free), without)
			l.wantStands("OPERATIONAL")
			l.wantTold(toFree)
			l.wantLooked(url)
		})
	}
}

// TestPortalFaults has a way that is not free: the device is held where that is found out, is told why, and goes on all the
// same when its patience is over. It goes on looking, less and less often, and tells when the way is free.
func TestPortalFaults(t *testing.T) {
	for name, c := range map[string]struct {
		http, https func(context.Context) PortalLook
		at          wire.State
		want        PortalLook
	}{
		"captive":         {seen(captive), seen(free), wire.DHCP, captive},
		"captive, by TLS": {seen(free), seen(captive), wire.TimeValid, captive},
		"offline":         {seen(offline), seen(offline), wire.DHCP, offline},
		"slow":            {slowly(time.Hour, free), seen(free), wire.DHCP, PortalLook{Result: wire.PortalNoInternet, Why: "no answer from x within 5s"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := looking(t, c.http, c.https)
				l.after(20 * time.Second)
				if got, want := l.stands(), fmt.Sprintf("%s; portal: %s since ", c.at, c.want.Why); !strings.HasPrefix(got, want) {
					t.Errorf("the machine is at\n%s\nwant\n%s", got, want)
				}
				l.after(2*time.Minute - 21*time.Second)
				if got := l.stands(); !strings.HasPrefix(got, c.at.String()+"; portal: ") {
					t.Errorf("the machine is at %s before its patience is over", got)
				}
				l.after(7 * time.Second)
				l.wantStands("OPERATIONAL")
				if last := l.last(); !strings.HasSuffix(last, "; the device goes on all the same (degraded)") || !strings.HasPrefix(last,
					fmt.Sprintf("sys.network.portal: %s > %s, %s since ", c.want.Result, c.want.Result, c.want.Why)) {
					t.Errorf("told last %q", last)
				}
				l.looked()
				l.after(10 * time.Minute)
				if n := len(strings.Fields(l.looked())); n < 8 || n > 24 {
					t.Errorf("looked %d times in ten minutes", n)
				}
				l.play(map[string]func(context.Context) PortalLook{plainURL: seen(free), secureURL: seen(free)})
				l.after(70 * time.Second)
				l.wantTold(fmt.Sprintf("sys.network.portal: %s > ok, ", c.want.Result))
				l.looked()
				l.after(time.Hour)
				l.wantLooked("")
			})
		})
	}
}

// TestPortalLetsThrough is a portal that somebody has logged in at.
func TestPortalLetsThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := looking(t, seen(captive), seen(free))
		l.after(30 * time.Second)
		l.play(map[string]func(context.Context) PortalLook{plainURL: seen(free)})
		l.after(40 * time.Second)
		l.wantStands("OPERATIONAL")
		l.wantTold("sys.network.portal: unknown > captive, "+captive.Why, wasFreed)
	})
}

// TestPortalSlow answers at once while the internet does not, and takes an answer that comes in time.
func TestPortalSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := looking(t, slowly(4*time.Second, free), slowly(4*time.Second, free))
		l.wantStands("DHCP; portal: nobody has looked for a captive portal yet")
		l.after(5 * time.Second)
		l.wantStands("TIME_VALID; portal: nobody has looked for a captive portal with HTTPS yet")
		l.after(10 * time.Second)
		l.wantStands("OPERATIONAL")
	})
}

// TestPortalSticks looks anew when somebody asks for it, and not otherwise; those who ask at once share a look.
func TestPortalSticks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := looking(t, seen(free), seen(free))
		l.wantStands("OPERATIONAL")
		l.looked()
		l.play(map[string]func(context.Context) PortalLook{plainURL: slowly(time.Second, captive)})
		l.after(time.Hour)
		l.wantTold(toFree)
		l.wantLooked("")
		var asking sync.WaitGroup
		for range 5 {
			asking.Go(func() {
				if got := l.request(); got != (wire.CaptivePortal{Result: wire.PortalCaptive, URL: "http://p/"}) {
					t.Errorf("found %+v", got)
				}
			})
		}
		asking.Wait()
		l.request() // what has just been seen will do
		synctest.Wait()
		l.wantLooked(plainURL)
		l.wantTold(toCaptive)
		l.wantStands("OPERATIONAL")
		l.play(map[string]func(context.Context) PortalLook{plainURL: seen(free)})
		l.after(5 * time.Second)
		l.wantTold(wasFreed)
	})
}

// TestPortalRequestEnds has somebody ask who does not wait for the answer, and nobody to give it.
func TestPortalRequestEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPortal(PortalOptions{HTTP: plainURL})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if got, err := p.Look(ctx, wire.Internal, wire.Empty{}); err == nil {
			t.Errorf("found %+v by nobody", got)
		}
	})
}

// TestPortalRerouted looks anew when the gateway is another one: what the old one let through says nothing of the new one.
func TestPortalRerouted(t *testing.T) {
	for _, falls := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			l := looking(t, seen(free), seen(free), func(o *PortalOptions) {
				if falls {
					o.FallBack = o.Gate.(Wisher)
				}
			})
			l.portal.Rerouted()
			synctest.Wait()
			l.wantStands("OPERATIONAL")
			l.wantTold(toFree)
			for range 3 {
				l.play(map[string]func(context.Context) PortalLook{plainURL: seen(captive)})
				l.portal.Rerouted()
				l.soon()
				if falls {
					l.wantStands("TIME_VALID; portal: " + captive.Why + " since 0s")
				} else {
					l.wantStands("OPERATIONAL")
				}
				l.play(map[string]func(context.Context) PortalLook{plainURL: seen(free)})
				l.after(time.Minute)
				l.wantStands("OPERATIONAL")
				l.wantTold(toCaptive, wasFreed)
			}
		})
	}
}

// TestPortalMeanwhile has a portal appear where no fall back is possible: the device falls back when it is.
func TestPortalMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := looking(t, seen(free), seen(free), func(o *PortalOptions) { o.FallBack = o.Gate.(Wisher) })
		l.wantStands("OPERATIONAL")
		l.update()
		l.play(map[string]func(context.Context) PortalLook{plainURL: seen(captive)})
		l.portal.Rerouted()
		l.after(45 * time.Second)
		l.wantStands("AWAITING_MODAL_UPDATING")
		l.after(90 * time.Second)
		l.wantHeld("TIME_VALID; portal: " + captive.Why)
		l.play(map[string]func(context.Context) PortalLook{plainURL: seen(free)})
		l.after(2 * time.Minute)
		l.wantStands("OPERATIONAL")
	})
}

// TestPortalStale has the gateway change while it is looked: what was seen through the old one does not count.
func TestPortalStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := looking(t, slowly(2*time.Second, free), seen(free))
		l.after(time.Second)
		l.portal.Rerouted()
		l.play(map[string]func(context.Context) PortalLook{plainURL: seen(captive)})
		l.after(3 * time.Second)
		l.wantTold("sys.network.portal: unknown > captive, " + captive.Why)
		l.wantStands("DHCP; portal: " + captive.Why + " since 0s")
	})
}

// TestPortalFlaps has the gateway change all the time, for longer than anybody is patient, and then no longer.
func TestPortalFlaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := looking(t, slowly(time.Second, free), slowly(time.Second, free))
		for range 130 {
			l.after(900 * time.Millisecond)
			l.portal.Rerouted()
		}
		if n := len(strings.Fields(l.looked())); n > 2*130 {
			t.Errorf("looked %d times in two minutes", n)
		}
		l.after(10 * time.Second)
		l.wantStands("OPERATIONAL")
	})
}

// TestPortalSchedules plays what may be seen at random, with gateways that change. When it is over the device gets there.
func TestPortalSchedules(t *testing.T) {
	for seed := range uint64(100) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 7))
			may := []func(context.Context) PortalLook{
				seen(captive), seen(offline), seen(free), slowly(3*time.Second, free), slowly(time.Hour, free), slowly(3*time.Second, captive),
			}
			l := looking(t, may[random.IntN(len(may))], may[random.IntN(len(may))], func(o *PortalOptions) { o.FallBack = o.Gate.(Wisher) })
			for range 12 {
				l.play(map[string]func(context.Context) PortalLook{plainURL: may[random.IntN(len(may))], secureURL: may[random.IntN(len(may))]})
				switch random.IntN(4) {
				case 0:
					l.portal.Rerouted()
				case 1:
					l.request()
				}
				l.after(time.Duration(random.IntN(100)) * time.Second)
				if got := l.stands(); strings.Contains(got, "; ") && !strings.Contains(got, "portal") && !strings.Contains(got, "answer") {
					t.Errorf("seed %d: the machine is at %s", seed, got)
				}
			}
			l.play(map[string]func(context.Context) PortalLook{plainURL: seen(free), secureURL: seen(free)})
			l.after(2 * time.Minute)
			l.wantStands("OPERATIONAL")
			if got := l.request(); got.Result != wire.PortalOK {
				t.Errorf("seed %d: found %+v", seed, got)
			}
		})
	}
}
