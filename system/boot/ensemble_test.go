package boot

import (
	"math/rand/v2"
	"strings"
	"time"

	"muster/wire"
)

// outside is something that a part depends on, and how long that part waits for it.
type outside struct {
	*weather
	patience time.Duration
}

// ensemble is every built-in notifier, with patience or without, and what is outside of them.
type ensemble struct {
	*rig
	random   *rand.Rand
	falls    Wisher // nil: what is lost makes nobody fall back
	outsides []outside
	parts    []Part
}

func gather(r *rig, random *rand.Rand) *ensemble {
	e := &ensemble{rig: r, random: random}
	if random.IntN(2) == 0 {
		e.falls = r
	}
	e.stdin()
	e.network(e.portal())
	if random.IntN(2) == 0 {
		e.clock()
	} else {
		e.timekeeper()
	}
	e.policy()
	e.identity()
	e.enrolment()
	e.token(wire.Auth1)
	e.token(wire.Auth2)
	e.script()
	e.updates()
	return e
}

// waits draws a patience; 0 has no end.
func (e *ensemble) waits() time.Duration {
	return []time.Duration{0, 0, 0, 30 * time.Second, 2 * time.Minute, 5 * time.Minute}[e.random.IntN(6)]
}

func (e *ensemble) add(part Part, patience time.Duration, weathers ...*weather) {
	e.parts = append(e.parts, part)
	for _, w := range weathers {
		e.outsides = append(e.outsides, outside{w, patience})
	}
}

func (e *ensemble) stdin() {
	patience := e.waits()
	in := newWeather(stdinName, map[fault]string{missing: "ended without a byte", slow: "nothing has come", lying: "more than the"})
	store := newWeather(stdinName, map[fault]string{full: "cannot be written: no space left on device"})
	e.add(NewStdin(&pipe{weather: in}, wire.BlobKey{Name: "auth"}, StdinOptions{
		Store: &cellar{weather: store}, Gate: e, Patience: patience,
	}), patience, in, store)
}

// portal gives what is to be called when the gateway is another one.
func (e *ensemble) portal() (rerouted func()) {
	patience := e.waits()
	words := map[fault]string{
		missing: "no answer from x (connection refused)", slow: "no answer from x within 5s|nobody has looked for a captive portal", lying: "a captive portal answers 302 for x",
		flapping: "no answer from x",
	}
	plain, secure := newWeather(portalName, words), newWeather(portalName, words)
	p := NewPortal(PortalOptions{
		HTTP: plainURL, HTTPS: secureURL, Probe: horizon{plainURL: plain, secureURL: secure}, Gate: e, Teller: e, FallBack: e.falls,
		Patience: patience,
	})
	e.add(p, patience, plain, secure)
	return p.Rerouted
}

func (e *ensemble) network(rerouted func()) {
	patience := e.waits()
	w := newWeather(networkName, map[fault]string{
		missing: "eth0 has no link", slow: "not listed yet", lying: "no default route on eth0", deaf: "netlink has had enough", flapping: "eth0",
	})
	e.add(NewNetwork(NetworkOptions{Source: airwaves{w}, Gate: e, Teller: e, FallBack: e.falls, Rerouted: rerouted, Patience: patience}), patience, w)
}

func (e *ensemble) clock() {
	patience := e.waits()
	w := newWeather(clockName, map[fault]string{
		missing: "not synchronised", slow: "not been looked at", lying: "the clock shows 1970-", deaf: "adjtimex: function not implemented",
		flapping: "not synchronised",
	})
	e.add(NewClock(ClockOptions{
		Source: sundial{w}, Gate: e, Teller: e, FallBack: e.falls, Earliest: made, Patience: patience,
	}), patience, w)
}

func (e *ensemble) timekeeper() {
	patience := e.waits()
	w := newWeather(clockName, map[fault]string{
		missing: "no such host", slow: "no answer within 5s", lying: "before this version was made", deaf: "it wants to be left alone, RATE",
		flapping: "no such host",
	})
	e.add(NewTimekeeper(TimekeeperOptions{
		Clock: newHands(), Blobs: &label{text: "a.example"}, Source: tower{w}, Gate: e, Teller: e, FallBack: e.falls, Earliest: made,
		Patience: patience,
	}), patience, w)
}

func (e *ensemble) policy() {
	patience := e.waits()
	law := newWeather(policyName, map[fault]string{
		missing: "there is no policy at /p.toml", slow: "not been looked at", lying: "is refused", deaf: "inotify has had enough",
		flapping: "there is no policy",
	})
	archive := newWeather(policyName, map[fault]string{full: "cannot be kept: no space left on device"})
	shop := newWeather(policyName, map[fault]string{full: "cannot be written: no space left on device"})
	e.add(OpenPolicy(PolicyOptions{
		Source: lectern{law}, Records: &drawer{weather: archive}, Blobs: &cellar{weather: shop}, Gate: e, Wisher: e, Teller: e,
		Patience: patience,
	}), patience, law, archive, shop)
}

func (e *ensemble) identity() {
	patience := e.waits()
	w := newWeather(identityName, map[fault]string{missing: "the board is blank", flapping: "the board is blank"})
	store := newWeather(identityName, map[fault]string{full: "cannot be written: no space left on device"})
	e.add(NewIdentity(IdentityOptions{
		Source: engraving{w}, Blobs: &cellar{weather: store}, Gate: e, Teller: e, Patience: patience,
	}), patience, w, store)
}

func (e *ensemble) enrolment() {
	patience := e.waits()
	w := newWeather(enrolName, map[fault]string{
		missing: "the enrolment server x answered 503", slow: "is being signed|the authority sleeps", lying: "is of another key",
		flapping: "the enrolment server x answered 503",
	})
	store := &cellar{weather: newWeather(enrolName, map[fault]string{full: "no space left on device"})}
	store.put(e.t, "device-serial", "SN-1")
	e.add(NewEnrolment(EnrolOptions{
		Blobs: store, Authority: notary{w, newAuthority(e.t)}, Gate: e, Teller: e, FallBack: e.falls, Patience: patience,
	}), patience, w, store.weather)
}

func (e *ensemble) token(state wire.State) {
	patience := e.waits()
	name := strings.ToLower(state.String())
	w := newWeather(name, map[fault]string{
		missing: "the token server x answered 503", slow: "is being asked for|no answer from x", lying: "something in it that no token has",
		flapping: "the token server x answered 503|has expired",
	})
	store := newWeather(name, map[fault]string{full: "cannot be written: no space left on device"})
	e.add(NewToken(TokenOptions{
		State: state, Into: wire.BlobKey{Name: "auth", Index: 1}, Source: minter{w}, Blobs: &cellar{weather: store}, Gate: e, Teller: e, Clock: e,
		FallBack: e.falls, Patience: patience,
	}), patience, w, store)
}

func (e *ensemble) script() {
	w := newWeather("modem", map[fault]string{
		missing: "the modem is not there", slow: "was killed", lying: "failed, exit status 7: all is well", deaf: "fork: resource temporarily",
		flapping: "the modem is not there",
	})
	scripts, _, err := Scripts(folder(e.t, map[string]string{"20-modem.AUTH1": ""}), ScriptOptions{Runner: workshop{w}})
	if err != nil {
		e.t.Fatal(err)
	}
	e.add(scripts[0], 0, w)
}

func (e *ensemble) updates() {
	patience := e.waits()
	w := newWeather(updatesName, map[fault]string{
		missing: "wants to run later: the modem is not there", slow: "update 10-a runs since|update 10-a did not end within",
		lying: "failed, exit status 7: all is well", deaf: "fork: resource temporarily", flapping: "the modem is not there",
	})
	ledger := newWeather(updatesName, map[fault]string{full: "cannot be written down: no space left"})
	updates, err := OpenUpdates(folder(e.t, map[string]string{"10-a": ""}), UpdateOptions{
		Version: "1", Records: &drawer{weather: ledger}, Gate: e, Runner: workshop{w}, Patience: patience, Timeout: 90 * time.Second,
	})
	if err != nil {
		e.t.Fatal(err)
	}
	e.add(updates, patience, w, ledger)
}
