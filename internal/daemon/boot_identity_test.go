package daemon

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"muster/wire"
)

// TestIdentityCheck names the setting that is wrong, and what would be right.
func TestIdentityCheck(t *testing.T) {
	for want, change := range map[string]func(c *Config){
		`identity.from[0] is "serial"; con`: func(c *Config) { c.Identity.From = []string{"serial"} },
		`identity.from has "dmi" twice`:     func(c *Config) { c.Identity.From = []string{"dmi", "dmi"} },
		"identity.serial: device name":      func(c *Config) { c.Identity.From = []string{"configured"} },
		`identity.serial is "SN-1", and`:    func(c *Config) { c.Identity.Serial = "SN-1" },
		`enrol.mode is "est"; off`:          func(c *Config) { c.Enrol.Mode = "est" },
		`enrol.url is ""; one such as`:      func(c *Config) { c.Enrol.Mode = "https" },
		`enrol.url is "http://x/"; one s`:   func(c *Config) { c.Enrol.Mode, c.Enrol.URL = "https", "http://x/" },
		`enrol.program is ""; an absolute`:  func(c *Config) { c.Enrol.Mode = "script" },
		`enrol.ca_file is "ca.pem"; an a`:   func(c *Config) { c.Enrol.CAFile = "ca.pem" },
		`enrol.auth is "digest"; bearer`:    func(c *Config) { c.Enrol.Auth = "digest" },
		"enrol.timeout is 0s; 1s to 10m0s":  func(c *Config) { c.Enrol.Timeout = 0 },
	} {
		c := DefaultConfig()
		change(&c)
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
	c := DefaultConfig()
	c.Enrol.Mode, c.Policy.File = "https", "/etc/muster/policy.toml" // which says where
	if err := c.Check(); err != nil {
		t.Error(err)
	}
}

// provider is the maker's server: it signs certificates. It fails at first, as servers do.
type provider struct {
	*httptest.Server
	t      *testing.T
	key    crypto.Signer
	cert   *x509.Certificate
	caFile string

	mu     sync.Mutex
	fails  int      // so many requests more
	asked  []string // path, authorization
	tokens int      // granted
}

func newProvider(t *testing.T, fails int) *provider {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &provider{t: t, key: key, fails: fails, cert: &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test CA"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}}
	p.Server = httptest.NewUnstartedServer(p)
	p.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	p.Config.ErrorLog = log.New(io.Discard, "", 0)
	p.StartTLS()
	t.Cleanup(p.Close)
	p.caFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(p.caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// ServeHTTP implements http.Handler.
func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, r.URL.Path+" "+r.Header.Get("Authorization"))
	if p.fails > 0 {
		p.fails--
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	switch r.URL.Path {
	case "/simpleenroll":
		p.sign(w, r)
	case "/token":
		p.grant(w, r)
	}
}

// grant answers a request for a token, which lives for a second.
func (p *provider) grant(w http.ResponseWriter, r *http.Request) {
	if len(r.TLS.PeerCertificates) != 1 || r.TLS.PeerCertificates[0].Subject.CommonName != "SN-1" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	p.tokens++
	if _, err := fmt.Fprintf(w, `{"access_token":"very-secret-%d","expires_in":1}`, p.tokens); err != nil {
		p.t.Error(err)
	}
}

// sign answers a request for a certificate.
func (p *provider) sign(w http.ResponseWriter, r *http.Request) {
	der, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, r.Body))
	if err != nil {
		p.t.Error(err)
	}
	request, err := x509.ParseCertificateRequest(der)
	if err != nil {
		p.t.Error(err)
		return
	}
	cert, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: request.Subject, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour),
	}, p.cert, request.PublicKey, p.key)
	if err != nil {
		p.t.Error(err)
	}
	if err := pem.Encode(w, &pem.Block{Type: "CERTIFICATE", Bytes: cert}); err != nil {
		p.t.Error(err)
	}
}

// policyFile writes a policy that says where the provider is.
func (p *provider) policyFile() string {
	p.t.Helper()
	file := filepath.Join(p.t.TempDir(), "policy.toml")
	text := fmt.Sprintf("version = \"1\"\nissued = 2026-11-01T00:00:00Z\nenrol_url = \"%s/simpleenroll\"\nauth1_url = \"%s/token\"\n[retry.muster]\nbackoff = [\"10ms\"]\n", p.URL, p.URL)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(file), 0o755); err != nil {
		p.t.Fatal(err)
	}
	return file
}

// blobOf reads a blob.
func blobOf(t *testing.T, nc *nats.Conn, name string) []byte {
	t.Helper()
	var part wire.BlobPart
	if code := ask(t, nc, "sys.api.blob.get."+name, "", &part); code != "" {
		t.Fatalf("blob %s: %s", name, code)
	}
	return part.Data
}

// TestEnrolled boots a device that finds its serial, is told by its policy where to enrol, and gets its certificate from a server that
// fails twice. Its next start asks nobody.
func TestEnrolled(t *testing.T) {
	p, dir := newProvider(t, 2), t.TempDir()
	var key, cert []byte
	policy := p.policyFile()
	for i := range 2 {
		r := start(t, dir, func(c *Config) {
			c.Policy.File = policy
			c.Identity = Identity{From: []string{"configured"}, Serial: "SN-1"}
			c.Enrol.Mode, c.Enrol.CAFile = "https", p.caFile
		})
		nc := r.dial()
		await(t, nc, wire.Operational)
		if got := blobOf(t, nc, "device-serial.0"); string(got) != "SN-1" {
			t.Errorf("the serial is %q", got)
		}
		if i > 0 && (string(key) != string(blobOf(t, nc, "client-key-der.0")) || string(cert) != string(blobOf(t, nc, "client-cert-der.0"))) {
			t.Error("the next start has another key or certificate")
		}
		key, cert = blobOf(t, nc, "client-key-der.0"), blobOf(t, nc, "client-cert-der.0")
		if err := r.stop(); err != nil {
			t.Fatal(err)
		}
	}
	parsed, err := x509.ParseCertificate(cert)
	if err != nil || parsed.Subject.CommonName != "SN-1" {
		t.Errorf("the certificate is of %v, %v", parsed, err)
	}
	if len(p.asked) != 3 {
		t.Errorf("asked for %q; three times would be right", p.asked)
	}
}
