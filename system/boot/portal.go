package boot

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"muster/system"
	"muster/wire"
)

// Portal finds out whether something stands between the device and the internet: before CPD_PRE_TIME with HTTP, and before
// CPD_POST_TIME, when certificates can be checked, with HTTPS as well. It holds either until the way is free.
//
// The first result of a run is what counts until the next one. There is a run when the device begins to wait, when somebody
// asks for one, when the gateway has changed, and from time to time as long as the way is not free. What comes of it is told
// on sys.network.portal, and when a portal appears later, the device can fall back.
type Portal struct {
	opts   PortalOptions
	wanted chan struct{} // takes one: there is to be a run

	mu      sync.Mutex
	look    PortalLook // the last result
	since   time.Time  // of that, as it was told
	fresh   bool       // it is of the way as it is now
	proved  bool       // HTTPS has confirmed it
	gateway int        // how often that has changed
	awaited bool       // the device has come to CPD_PRE_TIME
	secure  bool       // and to CPD_POST_TIME
	back    wayBack    // to CPD_PRE_TIME
	hold    holding
	asking  []chan<- PortalLook // for the result of the run that is next to end
	runs    bool                // one is under way
	ended   time.Time           // the last one
}

// PortalOptions are the surroundings of a Portal. HTTP or HTTPS, Gate and Teller are required; other zero values work.
type PortalOptions struct {
	HTTP     string        // a URL that is looked at before and after the time is known; "": none
	HTTPS    string        // one that is looked at after; "": none
	Probe    PortalProbe   // nil: [HTTPProbe]
	Gate     Gate          //
	Teller   Teller        //
	FallBack Wisher        // where the device is to fall back to CPD_PRE_TIME when a portal appears; nil: it stays
	Patience time.Duration // after which the device goes on all the same; 0: never
	Log      *slog.Logger
}

// PortalProbe looks at the internet.
type PortalProbe interface {
	// Look gets a URL, and returns soon when ctx is done. The result is unknown only then.
	Look(ctx context.Context, url string) PortalLook
}

// PortalLook is what was seen.
type PortalLook struct {
	Result wire.PortalResult
	Why    string // it is not [wire.PortalOK]
	URL    string // of the portal, if it names one
}

const (
	portalName  = "portal"
	portalTopic = "sys.network.portal"
	lookBudget  = 5 * time.Second // for one look
	lookGap     = time.Second     // between two of them, at least, whoever wants them
	mayBeStale  = 3               // looks in a row during which the gateway changes
)

// NewPortal makes a part that looks for captive portals.
func NewPortal(opts PortalOptions) *Portal {
	if opts.Probe == nil {
		opts.Probe = HTTPProbe{}
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	return &Portal{
		opts: opts, wanted: make(chan struct{}, 1), look: PortalLook{Result: wire.PortalUnknown}, since: time.Now(),
		back: wayBack{wisher: opts.FallBack, to: wire.CPDPreTime, log: opts.Log}, hold: holding{patience: patience{limit: opts.Patience}},
	}
}

// Notifier implements [Part].
func (p *Portal) Notifier() system.Notifier {
	return system.Notifier{
		Name: portalName, States: []wire.State{wire.CPDPreTime, wire.CPDPostTime}, Ask: p.ask,
		About: "waits until no captive portal stands between the device and the internet",
	}
}

// ask holds as long as the way is not known to be free. A device that falls back to CPD_PRE_TIME is not held on its way down,
// but before CPD_POST_TIME.
func (p *Portal) ask(_ context.Context, q wire.Question) wire.Answer {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !q.DryRun {
		p.awaited, p.secure = true, q.To == wire.CPDPostTime
	}
	free := p.free(q.To) || q.From > q.To
	if begins := p.hold.patience.since.IsZero() && !p.hold.gaveUp; begins && !free && !q.DryRun {
		p.ring()
	}
	a := p.hold.answer(q, free, func() string { return p.reason(q.To) }, p.giveUp)
	if q.To == wire.CPDPostTime {
		p.back.answered(q, a)
	}
	return a
}

// free reports whether nothing is in the way of a state.
func (p *Portal) free(to wire.State) bool {
	switch {
	case to == wire.CPDPreTime && p.opts.HTTP == "":
		return true
	case !p.fresh || p.look.Result != wire.PortalOK:
		return false
	}
	return to == wire.CPDPreTime || p.opts.HTTPS == "" || p.proved
}

// reason says what is waited for.
func (p *Portal) reason(to wire.State) string {
	switch {
	case p.look.Result == wire.PortalUnknown:
		return "nobody has looked for a captive portal yet"
	case !p.fresh:
		return "nobody has looked for a captive portal since the gateway changed"
	case p.look.Result == wire.PortalOK && !p.free(to):
		return "nobody has looked for a captive portal with HTTPS yet"
	}
	return fmt.Sprintf("%s since %v", p.look.Why, time.Since(p.since).Round(time.Second))
}

// giveUp tells that the device goes on whatever is in its way.
func (p *Portal) giveUp(reason string) {
	p.tell(Change{Old: string(p.look.Result), New: string(p.look.Result), Degraded: true, Reason: reason + "; the device goes on all the same"})
	p.opts.Log.Error("way to the internet not waited for any longer", "patience", p.opts.Patience, "reason", reason)
}

// tell sends an event.
func (p *Portal) tell(change Change) { p.opts.Teller.Tell(portalTopic, &change) }

// ring has Run look.
func (p *Portal) ring() {
	select {
	case p.wanted <- struct{}{}:
	default: // it is about to
	}
}

// Rerouted has the way looked at anew, because the gateway is another one. It returns at once.
func (p *Portal) Rerouted() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gateway++
	if p.fresh, p.proved = false, false; p.awaited {
		p.ring()
	}
}

// Look answers op.captive-portal: it looks now, or waits for the run that is under way. One that has just ended will do.
func (p *Portal) Look(ctx context.Context, _ wire.Caller, _ wire.Empty) (wire.CaptivePortal, error) {
	seen := make(chan PortalLook, 1)
	p.mu.Lock()
	if p.fresh && !p.runs && time.Since(p.ended) < lookGap {
		seen <- p.look
	} else {
		p.asking = append(p.asking, seen) // as many as the bus lets wait
		if !p.runs {
			p.ring()
		}
	}
	p.mu.Unlock()
	select {
	case look := <-seen:
		return wire.CaptivePortal{Result: look.Result, URL: look.URL}, nil
	case <-ctx.Done():
		return wire.CaptivePortal{}, ctx.Err()
	}
}

// Run implements [Part].
func (p *Portal) Run(ctx context.Context) error {
	again := time.NewTimer(time.Hour)
	again.Stop()
	defer again.Stop()
	for failures := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-again.C:
		case <-p.wanted:
			failures = 0
		}
		if p.run(ctx) {
			again.Stop()
			continue
		}
		failures++
		again.Reset(jittered(backoff(failures)))
	}
}

// run looks until there is a result, and reports whether there is no need to look again.
func (p *Portal) run(ctx context.Context) (done bool) {
	for tries := 1; ; tries++ {
		p.mu.Lock()
		p.runs = true
		select {
		case <-p.wanted: // this is it
		default:
		}
		gateway, secure := p.gateway, p.secure
		p.mu.Unlock()
		look, proved := p.see(ctx, secure)
		p.mu.Lock()
		stale := gateway != p.gateway
		p.mu.Unlock()
		if ctx.Err() != nil {
			return true
		}
		if !stale || tries == mayBeStale {
			return p.take(ctx, look, proved, !stale)
		}
		if !pause(ctx, lookGap) {
			return true
		}
	}
}

// see looks with HTTP and then, where certificates can be checked, with HTTPS. The first that is not free is what counts.
func (p *Portal) see(ctx context.Context, secure bool) (look PortalLook, proved bool) {
	look.Result = wire.PortalUnknown
	if p.opts.HTTP != "" {
		look = p.lookAt(ctx, p.opts.HTTP)
	}
	if !secure || p.opts.HTTPS == "" || p.opts.HTTP != "" && look.Result != wire.PortalOK {
		return look, false
	}
	look = p.lookAt(ctx, p.opts.HTTPS)
	return look, look.Result == wire.PortalOK
}

// lookAt looks at one URL in its time.
func (p *Portal) lookAt(ctx context.Context, url string) PortalLook {
	ctx, cancel := context.WithTimeout(ctx, lookBudget)
	defer cancel()
	return p.opts.Probe.Look(ctx, url)
}

// take takes note of a result, and reports whether there is no need to look again.
func (p *Portal) take(ctx context.Context, look PortalLook, proved, fresh bool) (done bool) {
	p.mu.Lock()
	p.runs, p.ended = false, time.Now()
	for _, asking := range p.asking {
		asking <- look
	}
	p.asking = nil
	if look.Result == wire.PortalUnknown { // there is nothing to look at before the time is known
		p.mu.Unlock()
		return true
	}
	old, was := p.look.Result, p.allFree()
	p.look, p.fresh, p.proved = look, fresh, proved
	if old != look.Result {
		p.since = time.Now()
		p.tell(Change{Old: string(old), New: string(look.Result), Reason: look.Why})
	}
	lost, falls := false, false
	switch look.Result {
	case wire.PortalOK:
		p.back.has()
		p.hold.over()
	case wire.PortalCaptive:
		if lost, falls = p.back.lost(); lost {
			p.hold.over()
		}
	case wire.PortalNoInternet, wire.PortalUnknown:
	}
	resumes := old != look.Result || was != p.allFree()
	done = look.Result == wire.PortalOK || !p.awaited
	p.mu.Unlock()
	switch {
	case falls:
		p.back.fall(ctx, look.Why)
	case resumes:
		resume(ctx, p.opts.Gate, portalName, p.opts.Log)
	}
	return done
}

// allFree tells for each of the two states whether nothing is in its way.
func (p *Portal) allFree() [2]bool { return [2]bool{p.free(wire.CPDPreTime), p.free(wire.CPDPostTime)} }
