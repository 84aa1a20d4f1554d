package boot

import (
	"context"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"slices"
	"sync"
	"testing"
	"time"

	"muster/system/boot/credential"
)

// authority signs for devices in memory, as it is told to.
type authority struct {
	t    *testing.T
	key  crypto.Signer
	cert *x509.Certificate

	mu      sync.Mutex
	life    time.Duration            // of a certificate
	fault   error                    // that it answers with
	block   bool                     // it never answers
	lie     func(*x509.Certificate)  // changes what is signed
	other   bool                     // it signs another key
	asked   []SigningRequest         // so far
	present func(r SigningRequest)   // is called first; may be nil
	answer  func(cert []byte) []byte // changes the answer; may be nil
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, _, err := credential.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test CA"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().AddDate(10, 0, 0), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(nil, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{t: t, key: key, cert: cert, life: 90 * 24 * time.Hour}
}

// Sign implements Authority.
func (a *authority) Sign(ctx context.Context, r SigningRequest) ([]byte, error) {
	a.mu.Lock()
	block, present := a.block, a.present
	a.asked = append(a.asked, r)
	a.mu.Unlock()
	if present != nil {
		present(r)
	}
	if block {
		<-ctx.Done()
		return nil, errors.New("the authority sleeps")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.fault != nil {
		return nil, a.fault
	}
	request, err := x509.ParseCertificateRequest(r.Request)
	if err == nil {
		err = request.CheckSignature()
	}
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(len(a.asked) + 1)), Subject: request.Subject, NotBefore: time.Now(), NotAfter: time.Now().Add(a.life),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if a.lie != nil {
		a.lie(template)
	}
	public := request.PublicKey
	if a.other {
		public = a.key.Public()
	}
	der, err := x509.CreateCertificate(nil, template, a.cert, public, a.key)
	if err != nil {
		return nil, err
	}
	if a.answer != nil {
		return a.answer(der), nil
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

// set changes how it behaves from now on.
func (a *authority) set(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
}

// requests are those that it was asked so far.
func (a *authority) requests() []SigningRequest {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.asked)
}

// count is how often it was asked.
func (a *authority) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.asked)
}
