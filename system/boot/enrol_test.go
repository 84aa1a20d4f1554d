package boot

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/system/boot/credential"
	"muster/wire"
)

// enrolling boots a machine whose device has a serial, and gets its certificate from there.
func enrolling(t *testing.T, a Authority, store *safe, falls bool) *rig {
	t.Helper()
	r := newRig(t)
	opts := EnrolOptions{Blobs: store, Authority: a, Gate: r, Teller: r, Patience: 10 * time.Minute, Backoff: backoff}
	if falls {
		opts.FallBack = r
	}
	r.boot(NewEnrolment(opts))
	return r
}

// named is a store of a device that has a serial.
func named(t *testing.T) *safe {
	store := &safe{}
	store.put(t, "device-serial", "SN-1")
	return store
}

// theCert is the certificate that the device has.
func theCert(t *testing.T, store *safe) *x509.Certificate {
	t.Helper()
	certs, err := x509.ParseCertificates([]byte(store.has("client-cert-der")))
	if err != nil || len(certs) == 0 {
		t.Fatalf("the blob has %d certificates, %v", len(certs), err)
	}
	return certs[0]
}

// TestEnrolment makes a key, which is on disk before anybody is asked, has it signed, and renews the certificate in time.
func TestEnrolment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, store := newAuthority(t), named(t)
		a.present = func(r SigningRequest) {
			request, err := x509.ParseCertificateRequest(r.Request)
			if err != nil {
				t.Error(err)
				return
			}
			if key, err := credential.ParseKey([]byte(store.has("client-key-der"))); err != nil || !key.(*ecdsa.PrivateKey).PublicKey.Equal(request.PublicKey) {
				t.Errorf("the request is of a key that is not on disk: %v", err)
			}
		}
		r := enrolling(t, a, store, true)
		r.wantStands("OPERATIONAL")
		first := theCert(t, store)
		if key, err := credential.ParseKey([]byte(store.has("client-key-der"))); err != nil {
			t.Error(err)
		} else if _, err := credential.Check([]*x509.Certificate{first}, key.Public(), "SN-1", time.Now()); err != nil {
			t.Error(err)
		}
		r.wantTold("sys.network.certificate: none > valid, signed by Test CA, valid until " + first.NotAfter.Format(time.RFC3339))
		if store.writes[1] != "client-key-der" || store.writes[2] != "client-cert-der" {
			t.Errorf("written: %v", store.writes)
		}

		r.after(time.Until(credential.Renewal(first)) - time.Minute)
		if n := a.count(); n != 1 {
			t.Errorf("asked %d times before it is due", n)
		}
		r.after(time.Hour)
		second := theCert(t, store)
		r.wantStands("OPERATIONAL")
		r.wantTold("sys.network.certificate: valid > valid, renewed: signed by Test CA, valid until " + second.NotAfter.Format(time.RFC3339))
		if asked := a.requests(); len(asked) != 2 || !asked[1].Renewal || asked[0].Renewal || second.Equal(first) {
			t.Errorf("asked %d times; want the second time for a renewal", len(asked))
		}
		r.after(365 * 24 * time.Hour)
		r.wantStands("OPERATIONAL")
		if n := a.count(); n < 7 || n > 9 {
			t.Errorf("asked %d times in 425 days; 7 to 9 times would be right", n)
		}
	})
}

// TestEnrolmentKept asks nobody when the device has a certificate, and uses a key that is there.
func TestEnrolmentKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, store := newAuthority(t), named(t)
		_, der, err := credential.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		store.put(t, "client-key-der", string(der))
		enrolling(t, a, store, false).wantStands("OPERATIONAL")
		enrolling(t, a, store, false).wantStands("OPERATIONAL")
		if !bytes.Equal([]byte(store.has("client-key-der")), der) || a.count() != 1 {
			t.Errorf("asked %d times, and the key is the same: %v", a.count(), store.has("client-key-der") == string(der))
		}
		store.put(t, "device-serial", "SN-2") // what there is, is another's now
		r := enrolling(t, a, store, false)
		r.wantStands("OPERATIONAL")
		if cert := theCert(t, store); cert.Subject.CommonName != "SN-2" || a.count() != 2 {
			t.Errorf("the certificate is made out to %s", cert.Subject.CommonName)
		}
	})
}

// TestEnrolmentFaults has an authority that is missing, slow or lying: the device is held, is told why, and goes on without when
// its patience is over.
func TestEnrolmentFaults(t *testing.T) {
	const notTaken = "what was answered is not taken: "
	for want, change := range map[string]func(a *authority, store *safe){
		"the enrolment server x answered 503":                                  func(a *authority, _ *safe) { a.fault = &refusal{said: "the enrolment server x answered 503"} },
		"the authority sleeps":                                                 func(a *authority, _ *safe) { a.block = true },
		notTaken + "the certificate is of another key":                         func(a *authority, _ *safe) { a.other = true },
		notTaken + `the certificate is made out to "SN-2"; "SN-1" would be ri`: func(a *authority, _ *safe) { a.lie = func(c *x509.Certificate) { c.Subject.CommonName = "SN-2" } },
		notTaken + "the certificate has expired on 2000-01-01T00:00:00Z, and ": func(a *authority, _ *safe) {
			a.lie = func(c *x509.Certificate) { c.NotAfter = time.Unix(946684800, 0) }
		},
		notTaken + "it is neither PEM nor DER nor base64":                      func(a *authority, _ *safe) { a.answer = func([]byte) []byte { return []byte("<html>") } },
		notTaken + "there is no certificate in it":                             func(a *authority, _ *safe) { a.answer = func([]byte) []byte { return nil } },
		"the device has no serial to be enrolled by, the blob device-serial.0": func(_ *authority, store *safe) { store.blobs[serialBlob] = "" },
		"the blob device-serial.0 is no name; 1 to 64 letters":                 func(_ *authority, store *safe) { store.blobs[serialBlob] = "a\x00b" },
		"the blob client-key-der.0 has no private key in DER, be it PKCS #8, ": func(_ *authority, store *safe) { store.blobs[keyBlob] = "secret" },
		"the blob client-key-der.0 cannot be written: the disk burns":          func(_ *authority, store *safe) { store.fault = errors.New("the disk burns") },
		"the blob device-serial.0 cannot be read: it is damaged":               func(_ *authority, store *safe) { store.deaf = errors.New("it is damaged") },
	} {
		t.Run(want, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, store := newAuthority(t), named(t)
				change(a, store)
				r := enrolling(t, a, store, false)
				r.after(5 * time.Minute)
				r.wantHeld("POLICY_VALID; enrolment: " + want)
				r.after(5 * time.Minute)
				r.soon()
				r.wantStands("OPERATIONAL")
				if n := a.count(); n > 20 {
					t.Errorf("asked %d times in ten minutes", n)
				}
				if told := r.heard(); len(told) != 2 || !strings.HasSuffix(told[1], "; the device goes on without a certificate (degraded)") {
					t.Errorf("told: %q", told)
				}
			})
		})
	}
}

// TestEnrolmentClock asks nobody while the clock shows a time that cannot be.
func TestEnrolmentClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t)
		r := newRig(t)
		r.boot(NewEnrolment(EnrolOptions{Blobs: named(t), Authority: a, Gate: r, Teller: r, Earliest: time.Now().Add(time.Hour), Backoff: backoff}))
		r.wantHeld("POLICY_VALID; enrolment: the clock shows 2000-01-01, before this version was made, so no certificate can be checked, since 0s")
		if a.count() != 0 {
			t.Error("somebody was asked")
		}
		r.after(time.Hour + time.Minute)
		r.wantStands("OPERATIONAL")
	})
}

// TestEnrolmentLater gets the certificate after the device went on without.
func TestEnrolmentLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t)
		a.fault = errors.New("it is on holiday")
		r := enrolling(t, a, named(t), true)
		r.after(11 * time.Minute)
		r.wantStands("OPERATIONAL")
		a.set(func() { a.fault = nil })
		r.after(time.Minute)
		r.wantStands("OPERATIONAL")
		told := r.heard()
		if last := told[len(told)-1]; !strings.HasPrefix(last, "sys.network.certificate: none > valid, signed by Test CA") {
			t.Errorf("told last: %s", last)
		}
	})
}

// TestEnrolmentExpires lets the certificate expire while nobody renews it, again and again.
func TestEnrolmentExpires(t *testing.T) {
	for _, falls := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			a, store := newAuthority(t), named(t)
			r := enrolling(t, a, store, falls)
			for range 3 {
				r.wantStands("OPERATIONAL")
				cert := theCert(t, store)
				a.set(func() { a.fault = errors.New("it is on holiday") })
				before := a.count()
				r.after(time.Until(cert.NotAfter) - time.Second)
				r.wantStands("OPERATIONAL")
				if n := a.count() - before; n < 10 || n > 1000 {
					t.Errorf("asked %d times in the last third of 90 days", n)
				}
				r.after(2 * time.Second)
				r.soon()
				if falls {
					r.wantHeld("POLICY_VALID; enrolment: ")
				} else {
					r.wantStands("OPERATIONAL")
				}
				a.set(func() { a.fault = nil })
				r.after(2 * time.Minute)
				r.wantStands("OPERATIONAL")
			}
			if told := r.heard()[2]; told != "sys.network.certificate: valid > invalid, the certificate has expired on 2000-03-31T00:00:00Z, and the clock shows 2000-03-31" {
				t.Errorf("told %q", told)
			}
		})
	}
}

// TestEnrolmentMeanwhile lets the certificate expire where no fall back is possible: the device falls back when it is.
func TestEnrolmentMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, store := newAuthority(t), named(t)
		r := enrolling(t, a, store, true)
		r.wantStands("OPERATIONAL")
		cert := theCert(t, store)
		a.set(func() { a.fault = &refusal{said: "it is on holiday", retry: time.Hour} })
		r.after(time.Until(cert.NotAfter) - 10*time.Second)
		r.update()
		r.after(15 * time.Second)
		r.wantStands("AWAITING_MODAL_UPDATING")
		asked := a.count()
		r.after(61 * time.Second)
		r.wantHeld("POLICY_VALID; enrolment: it is on holiday ")
		if n := a.count() - asked; n > 0 {
			t.Errorf("asked %d times before the hour is over", n)
		}
		a.set(func() { a.fault = nil })
		r.after(time.Hour)
		r.wantStands("OPERATIONAL")
	})
}

// scribbled is a store in which somebody overwrites each certificate at once.
type scribbled struct{ *safe }

// Set implements Blobs.
func (s scribbled) Set(ctx context.Context, who wire.Caller, w wire.BlobWrite) (wire.BlobWritten, error) {
	if w.BlobKey == certBlob {
		w.Data = []byte("mine")
	}
	return s.safe.Set(ctx, who, w)
}

// TestEnrolmentOverwritten has somebody overwrite each certificate: the device says so, and does not ask in a loop.
func TestEnrolmentOverwritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t)
		a.present = func(SigningRequest) {
			if a.count() > 50 {
				a.set(func() { a.block = true })
			}
		}
		r := newRig(t)
		r.boot(NewEnrolment(EnrolOptions{Blobs: scribbled{named(t)}, Authority: a, Gate: r, Teller: r, Backoff: backoff}))
		r.after(9 * time.Minute)
		r.wantHeld("POLICY_VALID; enrolment: the certificate that was signed is in the blob client-cert-der.0 no longer, somebody has written that, ")
		if n := a.count(); n > 20 {
			t.Errorf("asked %d times in nine minutes", n)
		}
	})
}

// TestEnrolmentShort has certificates that are due at once, or are no longer valid than the last: nobody is asked in a loop.
func TestEnrolmentShort(t *testing.T) {
	for name, lie := range map[string]func(*x509.Certificate){
		"backdated":   func(c *x509.Certificate) { c.NotBefore = c.NotBefore.AddDate(-5, 0, 0) },
		"the same":    func(c *x509.Certificate) { c.NotAfter = time.Unix(946684800, 0).Add(time.Hour) },
		"half a year": func(c *x509.Certificate) { c.NotAfter = c.NotBefore.AddDate(0, 6, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAuthority(t)
				a.lie = lie
				r := enrolling(t, a, named(t), false)
				r.wantStands("OPERATIONAL")
				r.after(59 * time.Minute)
				if n := a.count(); n > 20 {
					t.Errorf("asked %d times in an hour", n)
				}
			})
		})
	}
}
