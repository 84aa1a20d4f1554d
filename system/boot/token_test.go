package boot

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"muster/wire"
)

// mint gives tokens as it is told to.
type mint struct {
	mu    sync.Mutex
	life  time.Duration
	token string // "": the next of tok-1, tok-2 …
	fault error
	block bool
	given int // tokens, faults included
}

// Fetch implements TokenSource.
func (m *mint) Fetch(ctx context.Context) (AccessToken, error) {
	m.mu.Lock()
	m.given++
	token := AccessToken{Value: fmt.Sprint("tok-", m.given), Life: m.life}
	if m.token != "" {
		token.Value = m.token
	}
	fault, block := m.fault, m.block
	m.mu.Unlock()
	if block {
		<-ctx.Done()
		return AccessToken{}, errors.New("the mint sleeps")
	}
	return token, fault
}

func (m *mint) set(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
}

func (m *mint) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.given
}

// authorised boots a machine that gets a token from there for AUTH1.
func authorised(t *testing.T, m *mint, store *safe, falls bool) *rig {
	t.Helper()
	r := newRig(t)
	opts := TokenOptions{
		State: wire.Auth1, Into: wire.BlobKey{Name: "auth"}, Source: m, Blobs: store, Gate: r, Teller: r, Clock: r,
		Patience: 5 * time.Minute, Backoff: backoff,
	}
	if falls {
		opts.FallBack = r
	}
	r.boot(NewToken(opts))
	return r
}

// TestToken gets a token, and renews it for as long as the device runs, each time before it expires.
func TestToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, store := &mint{life: time.Hour}, &safe{}
		r := authorised(t, m, store, true)
		r.wantStands("OPERATIONAL")
		if got := store.has("auth"); got != "tok-1" {
			t.Errorf("the blob has %q", got)
		}
		r.after(39 * time.Minute)
		if n := m.count(); n != 1 {
			t.Errorf("asked %d times in 39 minutes", n)
		}
		r.after(7 * time.Minute)
		if got := store.has("auth"); got != "tok-2" {
			t.Errorf("after 46 minutes the blob has %q", got)
		}
		r.after(7 * 24 * time.Hour)
		if n := m.count(); n < 224 || n > 256 {
			t.Errorf("asked %d times in a week; 224 to 256 times would be right", n)
		}
		r.wantStands("OPERATIONAL")
		r.wantTold("sys.network.auth1: none > valid, ")
	})
}

// TestTokenFaults has a source that is missing, slow or lying: the device is held, is told why, and goes on without when its
// patience is over. No token is ever told.
func TestTokenFaults(t *testing.T) {
	const odd = "the token that came has something in it that no token has, such as a space"
	for want, c := range map[string]struct {
		mint  *mint
		store *safe
	}{
		"the token server x answered 503 Service Unavailable 9 times since 4m0s": {&mint{fault: &refusal{said: "the token server x answered 503 Service Unavailable"}}, &safe{}},
		"the mint sleeps":           {&mint{block: true}, &safe{}},
		odd:                         {&mint{token: "of secret words"}, &safe{}},
		odd + " 9 times since 4m0s": {&mint{token: "secret\n"}, &safe{}},
		"the token that came has 20000 characters; 1 to 16384":                    {&mint{token: strings.Repeat("secret..", 2500)}, &safe{}},
		"the token that came lives for -5s; a second or more":                     {&mint{life: -5 * time.Second}, &safe{}},
		"the blob auth.0 cannot be written: the store is full 9 times since 4m0s": {&mint{life: time.Hour}, &safe{fault: errors.New("the store is full")}},
	} {
		t.Run(want, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := authorised(t, c.mint, c.store, true)
				r.after(4*time.Minute + 5*time.Second)
				r.wantHeld("REGISTERED; auth1: " + strings.TrimSuffix(want, " 9 times since 4m0s"))
				r.after(time.Minute)
				r.soon()
				r.wantStands("OPERATIONAL")
				told := r.heard()
				if len(told) != 2 || !strings.HasSuffix(told[1], "; the device goes on without a token (degraded)") || strings.Contains(fmt.Sprint(told), "secret") {
					t.Errorf("told: %q", told)
				}
				if n := c.mint.count(); n > 15 {
					t.Errorf("asked %d times in five minutes", n)
				}
			})
		})
	}
}

// TestTokenReason says what happens how often and since when, and waits as long as the server wants.
func TestTokenReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mint{fault: &refusal{said: "the token server x answered 503 Service Unavailable", retry: 20 * time.Second}}
		r := authorised(t, m, &safe{}, true)
		r.after(41 * time.Second)
		r.wantStands("REGISTERED; auth1: the token server x answered 503 Service Unavailable 3 times since 40s")
		m.set(func() { m.fault, m.life = nil, time.Minute })
		r.after(20 * time.Second)
		r.wantStands("OPERATIONAL")
		r.wantTold("sys.network.auth1: none > none, the token server x answered 503 Service Unavailable", "sys.network.auth1: none > valid, ")
	})
}

// TestTokenRetryAfter is told to come back in ten minutes, while its token is valid and when it is not any more.
func TestTokenRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mint{life: time.Hour}
		r := authorised(t, m, &safe{}, false)
		r.wantStands("OPERATIONAL")
		m.set(func() {
			m.fault = &refusal{said: "the token server x answered 429 Too Many Requests", retry: 10 * time.Minute}
		})
		r.after(90 * time.Minute)
		r.wantTold("sys.network.auth1: none > valid, ", "sys.network.auth1: valid > valid, the token server x answered 429 Too Many Requests",
			"sys.network.auth1: valid > expired, the token has expired")
		if n := m.count(); n < 5 || n > 7 {
			t.Errorf("asked %d times in 90 minutes; 5 to 7 times would be right", n)
		}
	})
}

// TestTokenExpires lets the token expire while no other comes, again and again.
func TestTokenExpires(t *testing.T) {
	for _, falls := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			m, store := &mint{life: time.Hour}, &safe{}
			r := authorised(t, m, store, falls)
			r.wantStands("OPERATIONAL")
			r.wantTold("sys.network.auth1: none > valid, ")
			for range 3 {
				had := store.has("auth")
				m.set(func() { m.fault = errors.New("the mint is closed") })
				r.after(46 * time.Minute)
				r.wantTold("sys.network.auth1: valid > valid, the mint is closed")
				r.wantStands("OPERATIONAL")
				if got := store.has("auth"); got != had {
					t.Errorf("the blob has %q, and had %q", got, had)
				}
				r.after(15 * time.Minute)
				r.soon()
				if falls {
					r.wantHeld("REGISTERED; auth1: the mint is closed ")
				} else {
					r.wantStands("OPERATIONAL")
				}
				r.wantTold("sys.network.auth1: valid > expired, the token has expired")
				m.set(func() { m.fault = nil })
				r.after(2 * time.Minute)
				r.wantStands("OPERATIONAL")
				r.wantTold("sys.network.auth1: expired > valid, ")
			}
		})
	}
}

// TestTokenFalls lets both tokens expire, of which only the second makes the device fall back: the first does not keep it up.
func TestTokenFalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		first, second := &mint{life: time.Hour}, &mint{life: 2 * time.Hour}
		opts := TokenOptions{
			State: wire.Auth1, Into: wire.BlobKey{Name: "auth", Index: 1}, Source: first, Blobs: &safe{}, Gate: r, Teller: r, Clock: r, Backoff: backoff,
		}
		other := opts
		other.State, other.Into, other.Source, other.FallBack = wire.Auth2, wire.BlobKey{Name: "ext-auth1"}, second, r
		r.boot(NewToken(opts), NewToken(other))
		r.wantStands("OPERATIONAL")
		for _, m := range []*mint{first, second} {
			m.set(func() { m.fault = errors.New("the mint is closed") })
		}
		r.after(61 * time.Minute)
		r.wantStands("OPERATIONAL")
		r.after(time.Hour)
		r.soon()
		r.wantHeld("AUTH1; auth2: the mint is closed ")
		second.set(func() { second.fault = nil })
		r.after(2 * time.Minute)
		r.wantStands("OPERATIONAL")
	})
}

// TestTokenMeanwhile lets the token expire where no fall back is possible: the device falls back when it is, if it has none by then.
func TestTokenMeanwhile(t *testing.T) {
	for _, returns := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			m := &mint{life: time.Hour}
			r := authorised(t, m, &safe{}, true)
			r.wantStands("OPERATIONAL")
			m.set(func() { m.fault = &refusal{said: "the mint is closed", retry: 21 * time.Minute} })
			r.after(time.Hour - 10*time.Second)
			r.update()
			r.after(15 * time.Second)
			r.wantStands("AWAITING_MODAL_UPDATING")
			if returns {
				m.set(func() { m.fault = nil })
				r.after(21 * time.Minute)
				r.wantStands("OPERATIONAL")
				return
			}
			r.after(61 * time.Second)
			r.wantHeld("REGISTERED; auth1: the mint is closed ")
		})
	}
}

// TestTokenFlaps has a source that gives a token every other time.
func TestTokenFlaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, store := &mint{life: time.Minute}, &safe{}
		r := authorised(t, m, store, true)
		r.wantStands("OPERATIONAL")
		for i := range 50 {
			m.set(func() { m.fault = nil })
			if i%2 == 0 {
				m.set(func() { m.fault = errors.New("not now") })
			}
			r.after(7 * time.Second)
		}
		m.set(func() { m.fault = nil })
		r.after(time.Minute)
		r.wantStands("OPERATIONAL")
		for _, told := range r.heard() {
			if strings.Contains(told, "expired") {
				t.Errorf("told %s", told)
			}
		}
	})
}

// TestTokenShort is given tokens that hardly live, and one that does not say how long.
func TestTokenShort(t *testing.T) {
	for name, c := range map[string]struct {
		life        time.Duration
		least, most int // requests in an hour
	}{"a second": {time.Second, 4700, 5500}, "unsaid": {0, 1, 2}, "for ever": {1 << 62, 1, 1}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &mint{life: c.life}
				r := authorised(t, m, &safe{}, true)
				r.after(time.Hour)
				r.wantStands("OPERATIONAL")
				if n := m.count(); n < c.least || n > c.most {
					t.Errorf("asked %d times in an hour; %d to %d times would be right", n, c.least, c.most)
				}
				r.wantTold("sys.network.auth1: none > valid, ")
			})
		})
	}
}
