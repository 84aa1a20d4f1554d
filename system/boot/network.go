package boot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"muster/system"
	"muster/wire"
)

// Network observes interfaces, addresses and routes. It holds IFACE_COLDPLUG until those that are there are known, and
// DHCP until one of the wanted interfaces has a link, an address of global scope and a default route, however they came.
// It sets none of them. Each change goes out on sys.network.link, .address and .route, and what comes of
// them on sys.network.online. When the network is lost for longer than a moment, the device can fall back.
type Network struct {
	opts    NetworkOptions
	changed chan struct{} // takes one

	mu       sync.Mutex
	known    facts     // nil until what was there has been listed
	fault    string    // why nothing is heard; "" while something is
	online   bool      // as it was told last
	since    time.Time // of that
	back     wayBack   // to IFACE_COLDPLUG
	coldplug holding   // before IFACE_COLDPLUG
	address  holding   // before DHCP
}

// NetworkOptions are the surroundings of a Network. Source, Gate and Teller are required; other zero values work.
type NetworkOptions struct {
	Source     NetworkSource
	Gate       Gate          //
	Teller     Teller        //
	FallBack   Wisher        // where the device is to fall back to IFACE_COLDPLUG when the network is lost; nil: it stays
	Settle     time.Duration // for which it has to be lost before that; 0: 5 s
	Rerouted   func()        // is called after default routes have changed, and returns at once; nil: nobody is
	Interfaces []string      // that will do; none means any but the loopback interface
	Patience   time.Duration // in each of both states, after which the device goes on without; 0: never
	Log        *slog.Logger
}

// NetworkSource hears of the network of this machine.
type NetworkSource interface {
	// Watch tells of everything that is there, at first and after every change, until ctx is done or it cannot hear any
	// more, and gives the reason. It calls tell on its own goroutine alone, and may be called again.
	Watch(ctx context.Context, tell func(picture []Fact)) error
}

// Fact is something that is so in the network.
type Fact struct {
	Kind  FactKind
	Index int    // the kernel's number of the interface
	Name  string // of the interface; of a link only
	Value string // an address with its length, or a gateway ("" when there is none)
	Up    bool   // of a link
}

// FactKind is what a [Fact] is about.
type FactKind int

// The kinds of facts.
const (
	Link    FactKind = iota // an interface
	Address                 // of global scope
	Route                   // a default route
)

const (
	networkName  = "network"
	networkTopic = "sys.network."
	routeTopic   = "route"
	loopback     = "lo"
)

// NewNetwork makes an observer of the network.
func NewNetwork(opts NetworkOptions) *Network {
	if opts.Settle == 0 {
		opts.Settle = 5 * time.Second
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	return &Network{
		opts: opts, changed: make(chan struct{}, 1), since: time.Now(), back: wayBack{wisher: opts.FallBack, to: wire.IfaceColdplug, log: opts.Log},
		coldplug: holding{patience: patience{limit: opts.Patience}}, address: holding{patience: patience{limit: opts.Patience}},
	}
}

// Notifier implements [Part].
func (n *Network) Notifier() system.Notifier {
	about := "waits for an interface with a link, an address and a default route"
	if len(n.opts.Interfaces) > 0 {
		about += ": " + strings.Join(n.opts.Interfaces, " or ")
	}
	return system.Notifier{Name: networkName, States: []wire.State{wire.IfaceColdplug, wire.DHCP}, Ask: n.ask, About: about}
}

// ask holds as long as something is missing for the state. A device that falls back to IFACE_COLDPLUG is not held on its way
// down, but before DHCP.
func (n *Network) ask(_ context.Context, q wire.Question) wire.Answer {
	n.mu.Lock()
	defer n.mu.Unlock()
	missing, h := n.missing(q.To), &n.address
	if q.To == wire.IfaceColdplug {
		h = &n.coldplug
	}
	there := missing == "" || q.To == wire.IfaceColdplug && q.From > q.To
	reason := func() string { return fmt.Sprintf("%s since %v", missing, time.Since(n.since).Round(time.Second)) }
	answer := h.answer(q, there, reason, func(reason string) { n.giveUp(q.To, reason) })
	if q.To == wire.DHCP {
		n.back.answered(q, answer)
	}
	return answer
}

// giveUp tells that the device goes on without the network.
func (n *Network) giveUp(to wire.State, reason string) {
	n.tell("online", Change{Old: word(n.online), New: word(n.online), Degraded: true, Reason: reason + "; the device goes on without"})
	n.opts.Log.Error("network not waited for any longer", "state", to.String(), "patience", n.opts.Patience, "reason", reason)
}

// word is how being online is told.
func word(online bool) string {
	if online {
		return "online"
	}
	return "offline"
}

// missing says what is missing for a state, "" when nothing is.
func (n *Network) missing(to wire.State) string {
	switch {
	case n.fault != "":
		return n.fault
	case n.known == nil:
		return "the interfaces are not listed yet"
	}
	nearest, most := "", -1 // to being complete
	for _, i := range slices.Sorted(maps.Keys(n.known)) {
		l := n.known[i]
		if l.name == "" || !n.wanted(l.name) {
			continue
		}
		has, lacks := l.standing()
		if has > most {
			most, nearest = has, lacks
		}
		if lacks == "" || to == wire.IfaceColdplug {
			return ""
		}
	}
	switch {
	case nearest != "":
		return nearest
	case len(n.opts.Interfaces) > 0:
		return "there is no interface " + strings.Join(n.opts.Interfaces, " or ")
	case to == wire.IfaceColdplug:
		return ""
	}
	return "there is no interface but " + loopback
}

// wanted reports whether an interface will do.
func (n *Network) wanted(name string) bool {
	if len(n.opts.Interfaces) == 0 {
		return name != loopback
	}
	return slices.Contains(n.opts.Interfaces, name)
}

// tell sends an event.
func (n *Network) tell(what string, change Change) { n.opts.Teller.Tell(networkTopic+what, &change) }

// Run implements [Part].
func (n *Network) Run(ctx context.Context) error {
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() { n.watch(ctx) })
	settled := time.NewTimer(n.opts.Settle)
	settled.Stop()
	defer settled.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.changed:
			n.weigh(settled)
			resume(ctx, n.opts.Gate, networkName, n.opts.Log)
		case <-settled.C:
			n.fallBack(ctx, settled)
		}
	}
}

// watch hears of the network for as long as ctx lasts, whatever becomes of the source.
func (n *Network) watch(ctx context.Context) {
	for failures := 1; ; failures++ {
		err := n.opts.Source.Watch(ctx, func(picture []Fact) {
			failures = 0
			n.hear(factsOf(picture))
		})
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errors.New("it ended by itself")
		}
		n.deaf(err)
		if !pause(ctx, backoff(failures)) {
			return
		}
	}
}

// hear takes what is there in place of what was known, and tells what is not as it was.
func (n *Network) hear(heard facts) {
	n.mu.Lock()
	changes := heard.changes(n.known)
	n.mu.Unlock()
	rerouted := slices.ContainsFunc(changes, func(c telling) bool { return c.what == routeTopic })
	if rerouted && n.opts.Rerouted != nil {
		n.opts.Rerouted() // before the device goes on because there is a route
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range changes {
		n.tell(c.what, c.Change)
	}
	n.known, n.fault = heard, ""
	n.ring()
}

// deaf notes that nothing is heard, and why. What was known stays, for the network may be as it was.
func (n *Network) deaf(err error) {
	n.opts.Log.Warn("network not heard", "error", err)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.known == nil {
		n.fault = withWords("the network cannot be listened to", err.Error())
		n.ring()
	}
}

// ring has Run look at what has changed.
func (n *Network) ring() {
	select {
	case n.changed <- struct{}{}:
	default:
	}
}

// weigh tells what comes of a change, and gives a loss its time to prove one.
func (n *Network) weigh(settled *time.Timer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	missing := n.missing(wire.DHCP)
	online := missing == ""
	if online == n.online {
		return
	}
	n.tell("online", Change{Old: word(n.online), New: word(online), Reason: missing})
	n.online, n.since = online, time.Now()
	if online {
		n.back.has()
		n.coldplug.over()
		n.address.over()
		settled.Stop()
		return
	}
	settled.Reset(n.opts.Settle)
}

// fallBack has the device wait for the network again, where it is to.
func (n *Network) fallBack(ctx context.Context, settled *time.Timer) {
	n.mu.Lock()
	missing := n.missing(wire.DHCP)
	falls := false
	if missing != "" {
		_, falls = n.back.lost()
	}
	if falls {
		n.coldplug.over()
		n.address.over()
	}
	n.mu.Unlock()
	if falls && n.back.fall(ctx, "the network is lost: "+missing) {
		settled.Reset(wishAgain)
	}
}
