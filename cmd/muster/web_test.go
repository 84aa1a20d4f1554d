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
	return w
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
