package credential

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// signed makes a certificate of the key that signs itself, which nobody here looks at.
func signed(t *testing.T, key crypto.Signer, name string, change func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(29 * time.Hour),
	}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func newKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, der, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseKey(der)
	if err != nil || !again.(*ecdsa.PrivateKey).Equal(key) {
		t.Fatalf("the key read again is %v, %v", again, err)
	}
	return key
}

// TestParseKey reads every form in which a maker may have put a key into a device.
func TestParseKey(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sec1, err := x509.MarshalECPrivateKey(ec)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, der := range map[string][]byte{"SEC 1": sec1, "PKCS #1": x509.MarshalPKCS1PrivateKey(rsaKey)} {
		if _, err := ParseKey(der); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, der := range [][]byte{nil, []byte("secret"), sec1[:20]} {
		if _, err := ParseKey(der); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", der, err)
		}
	}
}

func TestRequest(t *testing.T) {
	key := newKey(t)
	der, err := Request(key, "SN-1")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(RequestPEM(der))
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if err := request.CheckSignature(); err != nil || request.Subject.CommonName != "SN-1" {
		t.Errorf("the request is of %s, %v", request.Subject, err)
	}
}

// TestCheck refuses what a lying authority could answer.
func TestCheck(t *testing.T) {
	key := newKey(t)
	for want, change := range map[string]func(*x509.Certificate){
		"": nil,
		`the certificate is made out to "SN-2"; "SN-1" would be right`:                        func(c *x509.Certificate) { c.Subject.CommonName = "SN-2" },
		"the certificate is one that may sign others; a device's would be right":              func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true },
		"the certificate is not for clients (extended key usage)":                             func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} },
		"the certificate is not valid before 2026-11-25T12:06:00Z, and the clock sh":          func(c *x509.Certificate) { c.NotBefore = now.Add(6 * time.Minute) },
		"the certificate has expired on 2026-11-25T12:00:00Z, and the clock shows 2026-11-25": func(c *x509.Certificate) { c.NotAfter = now },
	} {
		_, err := Check([]*x509.Certificate{signed(t, key, "SN-1", change)}, key.Public(), "SN-1", now)
		if want == "" && err != nil || want != "" && (err == nil || !strings.HasPrefix(err.Error(), want)) {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
	other := signed(t, newKey(t), "SN-1", nil)
	if _, err := Check([]*x509.Certificate{other}, key.Public(), "SN-1", now); err == nil || err.Error() != "the certificate is of another key" {
		t.Errorf("another key: %v", err)
	}
	ours := signed(t, key, "X", func(c *x509.Certificate) {
		c.DNSNames, c.ExtKeyUsage, c.NotBefore = []string{"SN-1"}, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, now.Add(skew)
	})
	chain, err := Check([]*x509.Certificate{other, ours}, key.Public(), "SN-1", now)
	if err != nil || len(chain) != 2 || !chain[0].Equal(ours) || !chain[1].Equal(other) {
		t.Errorf("with another one: %v, %v", chain, err)
	}
	if again, err := x509.ParseCertificates(DER(chain)); err != nil || len(again) != 2 || !again[0].Equal(ours) {
		t.Errorf("read again: %v, %v", again, err)
	}
	if got := Describe(ours); got != "signed by X, valid until 2026-11-26T17:00:00Z" {
		t.Errorf("it is %s", got)
	}
}

// TestRenewal spreads renewals over the twentieth of a life before two thirds of it, however long that is.
func TestRenewal(t *testing.T) {
	const day = 24 * time.Hour
	for _, life := range []time.Duration{30 * time.Hour, 90 * day, 365 * day, 20 * 365 * day} {
		first, last := life, time.Duration(0) // of the ages at which one is renewed
		for range 64 {
			cert := signed(t, newKey(t), "SN-1", func(c *x509.Certificate) { c.NotAfter = c.NotBefore.Add(life) })
			at := Renewal(cert)
			if !at.Equal(Renewal(cert)) {
				t.Fatal("it is not the same twice")
			}
			first, last = min(first, at.Sub(cert.NotBefore)), max(last, at.Sub(cert.NotBefore))
		}
		if first < life/3*2-life/20 || last > life/3*2 || last-first < life/60 {
			t.Errorf("of %v: renewals after %v to %v; %v to %v would be right", life, first, last, life/3*2-life/20, life/3*2)
		}
	}
}

// TestParse reads what authorities answer with, and nothing else.
func TestParse(t *testing.T) {
	fixture, err := os.ReadFile("testdata/openssl.p7.b64")
	if err != nil {
		t.Fatal(err)
	}
	p7, err := base64.StdEncoding.DecodeString(string(fixture))
	if err != nil {
		t.Fatal(err)
	}
	cert := signed(t, newKey(t), "SN-1", nil).Raw
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	for name, c := range map[string]struct {
		answer []byte
		count  int
		fault  string
	}{
		"EST":             {fixture, 2, ""},
		"EST with spaces": {bytes.ReplaceAll(fixture, []byte("\n"), []byte("\r\n ")), 2, ""},
		"PKCS #7":         {p7, 2, ""},
		"PKCS #7 in PEM":  {pem.EncodeToMemory(&pem.Block{Type: "PKCS7", Bytes: p7}), 2, ""},
		"DER":             {cert, 1, ""},
		"two in DER":      {append(bytes.Clone(cert), cert...), 2, ""},
		"PEM":             {append([]byte("a certificate\n"), block...), 1, ""},
		"nothing":         {nil, 0, "there is no certificate in it"},
		"a page":          {[]byte("<html>"), 0, "it is neither PEM nor DER nor base64"},
		"a key":           {pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: cert}), 0, "there is no certificate in it"},
		"cut":             {cert[:len(cert)-1], 0, "it is no certificate"},
		"PKCS #7, cut":    {p7[:len(p7)-1], 0, "it is no certificate"},
		"too many":        {bytes.Repeat(cert, 17), 0, "there are 17 certificates in it; at most 16 would be right"},
		"too many in PEM": {bytes.Repeat(block, 1000), 0, "there are 17 certificates in it"},
	} {
		certs, err := Parse(c.answer)
		if len(certs) != c.count || c.fault == "" && err != nil || c.fault != "" && (err == nil || !strings.HasPrefix(err.Error(), c.fault)) {
			t.Errorf("%s: %d certificates, %v; want %d, %s", name, len(certs), err, c.count, c.fault)
		}
	}
}

func FuzzParse(f *testing.F) {
	fixture, err := os.ReadFile("testdata/openssl.p7.b64")
	if err != nil {
		f.Fatal(err)
	}
	p7, err := base64.StdEncoding.DecodeString(string(fixture))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(fixture)
	f.Add(p7)
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p7}))
	f.Fuzz(func(t *testing.T, answer []byte) {
		certs, err := Parse(answer)
		if err == nil && (len(certs) == 0 || len(certs) > maxCertificates) {
			t.Errorf("%d certificates", len(certs))
		}
	})
}
