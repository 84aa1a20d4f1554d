package boot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"muster/system"
	"muster/wire"
)

// Token keeps a token of limited life in a secret blob, and holds AUTH1 or AUTH2 until it is there. It is renewed well before it
// expires, for as long as the device runs; how long it lives is measured by the clock that never jumps and counts suspend. What
// becomes of it is told on sys.network.auth1 or .auth2, never what it is.
type Token struct {
	opts TokenOptions
	supply

	// These are Run's alone.
	next   wire.MonoMicros // when the next is asked for
	expiry wire.MonoMicros // 0: there is none that is valid
}

// TokenOptions are the surroundings of a Token. All but those that say what their zero value is are required.
type TokenOptions struct {
	State    wire.State // that waits for it: AUTH1 or AUTH2
	Into     wire.BlobKey
	Source   TokenSource
	Blobs    Blobs
	Gate     Gate
	Teller   Teller
	Clock    system.Clock
	FallBack Wisher // where the device is to fall back to the state before when the token expires; nil: it stays

	Backoff  func(failures int) time.Duration // nil: that of a nil [Policy]
	Timeout  time.Duration                    // for one token; 0: 30 s
	Patience time.Duration                    // after which the device goes on without; 0: never
	Log      *slog.Logger
}

// TokenSource gives tokens. [OAuth] and [TokenHook] are some.
type TokenSource interface {
	// Fetch gives a new token. ctx has a deadline. An error never says what a token or a secret is.
	Fetch(ctx context.Context) (AccessToken, error)
}

// AccessToken is a token and how long it lives from when it was asked for.
type AccessToken struct {
	Value string
	Life  time.Duration // 0: it is not said
}

// What is known of the token, in events.
const (
	tokenNone    = supplyNone
	tokenValid   = supplyValid
	tokenExpired = "expired"
)

// The times of tokens.
const (
	assumedLife = time.Hour              // of one that does not say
	longestLife = 366 * 24 * time.Hour   // that is believed
	lookAtToken = time.Minute            // between two looks at the clock, at most: the device may be suspended
	soonestAsk  = 100 * time.Millisecond // between two requests
	longest     = 16 << 10               // of a token, in bytes
)

// NewToken makes the part.
func NewToken(opts TokenOptions) *Token {
	if opts.Timeout == 0 {
		opts.Timeout = 30 * time.Second
	}
	name := strings.ToLower(opts.State.String())
	k := &Token{opts: opts, supply: supply{
		name: name, topic: "sys.network." + name, what: "token",
		unasked: "no token has been asked for yet", asking: "a token is being asked for",
		gate: opts.Gate, teller: opts.Teller, backoff: opts.Backoff, log: opts.Log,
		back: wayBack{wisher: opts.FallBack, to: opts.State - 1},
	}}
	k.begin(opts.Patience)
	return k
}

// Notifier implements [Part].
func (k *Token) Notifier() system.Notifier {
	return system.Notifier{
		Name: k.name, States: []wire.State{k.opts.State}, Ask: k.ask,
		About: fmt.Sprintf("keeps a token in the blob %s.%d", k.opts.Into.Name, k.opts.Into.Index),
	}
}

// Run implements [Part].
func (k *Token) Run(ctx context.Context) error { return k.run(ctx, k.step) }

// now is what the clock shows that never jumps.
func (k *Token) now() wire.MonoMicros {
	_, now := k.opts.Clock.Now()
	return now
}

// until is how long it is to a time of that clock.
func (k *Token) until(then wire.MonoMicros) time.Duration {
	return time.Duration(then-k.now()) * time.Microsecond
}

// step gets a new token when it is time, and gives how long to wait then.
func (k *Token) step(ctx context.Context) time.Duration {
	if k.expiry > 0 && k.until(k.expiry) <= 0 {
		k.expiry = 0
		k.become(ctx, tokenExpired, "the token has expired", fmt.Sprintf("the token of %s has expired", k.opts.State))
	}
	if k.until(k.next) <= 0 {
		k.renew(ctx)
	}
	wait := min(k.until(k.next), lookAtToken)
	if k.expiry > 0 {
		wait = min(wait, k.until(k.expiry)) // which is to be seen
	}
	return max(wait, soonestAsk)
}

// renew gets a new token, or notes when to try again.
func (k *Token) renew(ctx context.Context) {
	err := k.fetch(ctx)
	switch {
	case err == nil:
		if k.failures = 0; k.valid() && k.failing() {
			k.renewed("renewed at last")
		}
		k.become(ctx, tokenValid, "", "")
	case ctx.Err() == nil:
		k.next = k.now() + wire.MonoMicros(k.failed(ctx, err).Microseconds())
	}
}

// fetch gets a token and keeps it.
func (k *Token) fetch(ctx context.Context) error {
	began := k.now()
	asking, cancel := context.WithTimeout(ctx, k.opts.Timeout)
	token, err := k.opts.Source.Fetch(asking)
	cancel()
	if err != nil {
		return err
	}
	if token.Life == 0 {
		token.Life = assumedLife
	}
	life := min(token.Life, longestLife)
	switch {
	case life < time.Second:
		return fmt.Errorf("the token that came lives for %v; a second or more would be right", life)
	case token.Value == "" || len(token.Value) > longest:
		return fmt.Errorf("the token that came has %d characters; 1 to %d would be right", len(token.Value), longest)
	case strings.ContainsFunc(token.Value, func(r rune) bool { return r <= ' ' || r > '~' }):
		return errors.New("the token that came has something in it that no token has, such as a space")
	}
	if err := putBlob(ctx, k.opts.Blobs, k.opts.Into, []byte(token.Value)); err != nil {
		return err
	}
	k.expiry = began + wire.MonoMicros(life.Microseconds())
	// When two thirds of its life are over, to three quarters: not all devices ask at once.
	k.next = began + wire.MonoMicros((life/3*2 + rand.N(life/12)).Microseconds())
	k.log.Debug("token got", "token", k.name, "life", life)
	return nil
}
