//go:build linux && netns

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// web is what the world has of the internet: a page by which devices look whether they are in it, which a portal can
// stand in front of, over HTTP and over HTTPS.
type web struct {
	plain, secure gate
	tokens        tokens
	authority     *x509.Certificate
	key           *ecdsa.PrivateKey
	roots         string // the file of whom devices are to trust
}

// gate is what stands in front of a page.
type gate struct{ atomic.Int32 }

// What a gate does.
const (
	free int32 = iota
	redirects
	demands // 511, Network Authentication Required
)

// ServeHTTP implements http.Handler.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch g.Load() {
	case redirects:
		http.Redirect(w, r, "http://login.example.com/", http.StatusFound)
	case demands:
		w.WriteHeader(http.StatusNetworkAuthenticationRequired)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// weave puts a web into a world.
func weave(t *testing.T, world *place, dir string) *web {
	t.Helper()
	w := &web{roots: filepath.Join(dir, "roots.pem")}
	var err error
	if w.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	w.authority = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, w.authority, w.authority, &w.key.PublicKey, w.key)
	if err == nil {
		err = os.WriteFile(w.roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	serve(t, world.listen(worldAddress+":80"), &w.plain)
	serve(t, w.secured(t, world.listen(worldAddress+":443")), &w.secure)
	serve(t, w.secured(t, world.listen(worldAddress+":8443")), &w.tokens)
	return w
}

// tokens gives tokens to whoever knows the secret.
type tokens struct {
	fails atomic.Int32 // so many requests; less than 0: all
	life  atomic.Int32 // of a token, in seconds
	given atomic.Int32
}

const tokenSecret = "open-sesame"

// ServeHTTP implements http.Handler.
func (s *tokens) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, secret, _ := r.BasicAuth()
	switch left := s.fails.Load(); {
	case left != 0:
		if left > 0 {
			s.fails.Add(-1)
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	case secret != tokenSecret || r.FormValue("grant_type") != "client_credentials":
		w.WriteHeader(http.StatusUnauthorized)
	default:
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"access_token":"token-%d","token_type":"Bearer","expires_in":%d}`, s.given.Add(1), s.life.Load())
	}
}

// secured has a listener speak TLS, for all names that end in example.com.
func (w *web) secured(t *testing.T, listener net.Listener) net.Listener {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{"*.example.com"}, NotBefore: w.authority.NotBefore, NotAfter: w.authority.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, w.authority, &key.PublicKey, w.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
}

// serve answers there until the test ends.
func serve(t *testing.T, listener net.Listener, handler http.Handler) {
	t.Helper()
	server := &http.Server{Handler: handler, ReadHeaderTimeout: patience}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(listener) // until it is closed
	}()
	t.Cleanup(func() { _ = server.Close(); <-ended })
}
