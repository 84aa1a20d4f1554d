package boot

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"muster/system"
	"muster/system/boot/credential"
	"muster/wire"
)

// Enrolment gives the device a certificate of its own, and holds REGISTERED until it has one that is valid. The key is made on
// the device, once, and is on disk in the blob client-key-der.0 before anybody is asked to sign it; it never leaves. The certificate,
// in client-cert-der.0, is renewed when two thirds of its life are over. What becomes of it is told on sys.network.certificate.
type Enrolment struct {
	opts EnrolOptions
	supply
	rest time.Time // before which no other certificate is asked for; Run's alone
}

// EnrolOptions are the surroundings of an Enrolment. Blobs, Authority, Gate and Teller are required; other zero values work.
type EnrolOptions struct {
	Blobs     Blobs     //
	Authority Authority //
	Gate      Gate      //
	Teller    Teller    //
	FallBack  Wisher    // where the device is to fall back to POLICY_VALID when the certificate expires; nil: it stays

	Backoff  func(failures int) time.Duration // nil: that of a nil [Policy]
	Earliest time.Time                        // before any time that can be right: what the clock says then proves nothing
	Timeout  time.Duration                    // for one signature; 0: 1 min
	Patience time.Duration                    // after which the device goes on without; 0: never
	Log      *slog.Logger
}

// Authority signs certificates. [EST] and [Signer] are some.
type Authority interface {
	// Sign answers with the certificate in any form that [credential.Parse] reads. ctx has a deadline.
	Sign(ctx context.Context, r SigningRequest) ([]byte, error)
}

// SigningRequest asks for a signature.
type SigningRequest struct {
	Request []byte // PKCS #10 in DER
	Name    string // that the certificate is to be made out to
	Renewal bool   // the device has a valid certificate, and shows it
}

// What is known of the certificate, in events.
const (
	certNone    = supplyNone
	certValid   = supplyValid
	certInvalid = "invalid"
)

const (
	enrolName    = "enrolment"
	enrolTopic   = "sys.network.certificate"
	lookAtCert   = time.Hour   // between two looks at a certificate that is valid, at most: the clock may jump
	slowestRenew = time.Hour   // between two attempts to renew one that is still valid
	soonestLook  = time.Second // between any two looks
)

// NewEnrolment makes the part.
func NewEnrolment(opts EnrolOptions) *Enrolment {
	if opts.Timeout == 0 {
		opts.Timeout = time.Minute
	}
	e := &Enrolment{opts: opts, supply: supply{
		name: enrolName, topic: enrolTopic, what: "certificate",
		unasked: "the certificate has not been looked at yet", asking: "the certificate is being signed",
		gate: opts.Gate, teller: opts.Teller, backoff: opts.Backoff, log: opts.Log,
		back: wayBack{wisher: opts.FallBack, to: wire.PolicyValid},
	}}
	e.begin(opts.Patience)
	return e
}

// Notifier implements [Part].
func (e *Enrolment) Notifier() system.Notifier {
	return system.Notifier{
		Name: enrolName, States: []wire.State{wire.Registered}, Ask: e.ask,
		About: "has the certificate of the device signed, and renews it",
	}
}

// Run implements [Part].
func (e *Enrolment) Run(ctx context.Context) error { return e.run(ctx, e.step) }

// step looks at the certificate and does what is to be done next; it gives how long to wait then.
func (e *Enrolment) step(ctx context.Context) time.Duration {
	own, err := e.look(ctx)
	if err == nil {
		if wait := e.stands(ctx, own); wait > 0 {
			return wait
		}
		err = e.sign(ctx, own)
	}
	if err == nil { // what has come is what is in the blob
		own, err = e.look(ctx)
	}
	if err == nil {
		if wait := e.stands(ctx, own); wait > 0 {
			return wait
		}
		err = errors.New("the certificate that was signed is in the blob client-cert-der.0 no longer, somebody has written that,")
	}
	if ctx.Err() != nil {
		return 0
	}
	return e.again(own, e.failed(ctx, err))
}

// stands notes how the certificate stands, and gives how long nothing is to be done; 0 when it is to be signed.
func (e *Enrolment) stands(ctx context.Context, own credentials) time.Duration {
	if own.chain == nil {
		e.become(ctx, own.state, own.why, "the certificate is lost: "+own.why)
		return 0
	}
	e.become(ctx, certValid, credential.Describe(own.chain[0]), "")
	wait := max(time.Until(credential.Renewal(own.chain[0])), time.Until(e.rest))
	if wait <= 0 {
		return 0
	}
	e.failures = 0
	return max(min(wait, lookAtCert), soonestLook)
}

// credentials are what the device has.
type credentials struct {
	name  string
	key   crypto.Signer
	chain []*x509.Certificate // nil when it is not valid
	state string              // of it then
	why   string
}

// look reads what the device has, and makes a key when it has none.
func (e *Enrolment) look(ctx context.Context) (own credentials, err error) {
	own.state = certNone
	serial, err := readBlob(ctx, e.opts.Blobs, serialBlob)
	if err != nil {
		return own, err
	}
	own.name = strings.TrimSpace(string(serial))
	if own.name == "" {
		return own, errors.New("the device has no serial to be enrolled by, the blob device-serial.0 is empty,")
	}
	if len(own.name) > wire.MaxName || strings.ContainsFunc(own.name, func(r rune) bool { return r < ' ' || r > '~' }) {
		return own, fmt.Errorf("the blob device-serial.0 is no name; 1 to %d letters, digits, _ and - would be right", wire.MaxName)
	}
	if own.key, err = e.key(ctx); err != nil {
		return own, err
	}
	now := time.Now()
	if now.Before(e.opts.Earliest) {
		return own, fmt.Errorf("the clock shows %s, before this version was made, so no certificate can be checked,", now.UTC().Format(time.DateOnly))
	}
	der, err := readBlob(ctx, e.opts.Blobs, certBlob)
	if err != nil || len(der) == 0 {
		return own, err
	}
	own.state = certInvalid
	certs, err := x509.ParseCertificates(der)
	if err == nil {
		own.chain, err = credential.Check(certs, own.key.Public(), own.name, now)
	}
	if err != nil {
		own.why = lastWords(err.Error())
	}
	return own, nil
}

// key reads the key of the device. One is made if there is none, and is on disk when it is given.
func (e *Enrolment) key(ctx context.Context) (crypto.Signer, error) {
	part, err := e.opts.Blobs.Get(ctx, wire.Internal, wire.BlobRange{BlobKey: keyBlob})
	if err != nil {
		return nil, fmt.Errorf("the blob client-key-der.0 cannot be read: %w", err)
	}
	if len(part.Data) > 0 {
		key, err := credential.ParseKey(part.Data)
		if err != nil {
			return nil, fmt.Errorf("the blob client-key-der.0 has %w, and is left as it is,", err)
		}
		return key, nil
	}
	key, der, err := credential.NewKey()
	if err != nil {
		return nil, fmt.Errorf("no key can be made: %w", err)
	}
	defer clear(der)
	// Only if there is none yet: somebody may give the device another one meanwhile.
	if _, err = e.opts.Blobs.Set(ctx, wire.Internal, wire.BlobWrite{BlobKey: keyBlob, Data: der, Revision: &part.Revision}); err != nil {
		return nil, fmt.Errorf("the blob client-key-der.0 cannot be written: %w", err)
	}
	e.log.Info("device has made its key", "blob", "client-key-der.0")
	return key, nil
}

// sign has a new certificate signed, and keeps it if it is right.
func (e *Enrolment) sign(ctx context.Context, own credentials) error {
	request, err := credential.Request(own.key, own.name)
	if err != nil {
		return fmt.Errorf("no request can be made with the key of the device: %w", err)
	}
	asking, cancel := context.WithTimeout(ctx, e.opts.Timeout)
	answer, err := e.opts.Authority.Sign(asking, SigningRequest{Request: request, Name: own.name, Renewal: own.chain != nil})
	cancel()
	if err != nil {
		return err
	}
	certs, err := credential.Parse(answer)
	if err != nil {
		return fmt.Errorf("what was answered is not taken: %w", err)
	}
	now := time.Now()
	chain, err := credential.Check(certs, own.key.Public(), own.name, now)
	switch {
	case err != nil:
		return fmt.Errorf("what was answered is not taken: %w", err)
	case own.chain != nil && !chain[0].NotAfter.After(own.chain[0].NotAfter):
		return errors.New("what was answered is not taken: the certificate is valid no longer than the one that there is")
	}
	if err := putBlob(ctx, e.opts.Blobs, certBlob, credential.DER(chain)); err != nil {
		return err
	}
	if own.chain != nil && !bytes.Equal(own.chain[0].Raw, chain[0].Raw) {
		e.renewed("renewed: " + credential.Describe(chain[0]))
	}
	e.rest = now.Add(chain[0].NotAfter.Sub(now) / 2) // even if it were due at once
	e.log.Info("certificate signed", "name", own.name, "certificate", credential.Describe(chain[0]), "renewal", own.chain != nil)
	return nil
}

// again gives when to try again, at the soonest after a wait. There is time while a certificate is valid yet, but its end is to be
// seen.
func (e *Enrolment) again(own credentials, wait time.Duration) time.Duration {
	if own.chain != nil && e.valid() {
		wait = max(wait, lengthened(min(time.Second<<min(e.failures, 12), slowestRenew)))
		wait = min(wait, time.Until(own.chain[0].NotAfter))
	}
	return max(wait, soonestLook)
}
