package boot

import (
	"context"
	"crypto/tls"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"muster/system/boot/credential"
)

// pkcs7 wraps a certificate as EST's answers do.
func pkcs7(t *testing.T, cert []byte) []byte {
	t.Helper()
	data := asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	set := asn1.RawValue{Class: asn1.ClassUniversal, Tag: asn1.TagSet, IsCompound: true}
	signed, err := asn1.Marshal(struct {
		Version      int
		Digests      asn1.RawValue
		Content      struct{ Type asn1.ObjectIdentifier }
		Certificates asn1.RawValue
		Signers      asn1.RawValue
	}{
		1, set,
		struct{ Type asn1.ObjectIdentifier }{data},
		asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: cert},
		set,
	})
	if err != nil {
		t.Fatal(err)
	}
	outer, err := asn1.Marshal(struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue
	}{
		asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2},
		asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: signed},
	})
	if err != nil {
		t.Fatal(err)
	}
	return []byte(base64.StdEncoding.EncodeToString(outer))
}

// served is a server over TLS that asks for a certificate, and an HTTPS that trusts it.
func served(t *testing.T, handler http.HandlerFunc) (*httptest.Server, HTTPS) {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of those who do not trust it
	server.StartTLS()
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return server, HTTPS{CAFile: file}
}

// TestHTTPSDirect has a proxy named in the environment: it is not used.
func TestHTTPSDirect(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the proxy was asked") }))
	defer proxy.Close()
	t.Setenv("HTTPS_PROXY", proxy.URL)
	server, https := served(t, func(http.ResponseWriter, *http.Request) {})
	elsewhere := strings.Replace(server.URL, "127.0.0.1", "0.0.0.0", 1) // the same, which does not count as this machine
	if _, err := https.post(t.Context(), "token", elsewhere, nil, nil); err == nil || !strings.Contains(err.Error(), "certificate is valid for") {
		t.Errorf("the error is %v; want that the certificate is not for that name", err)
	}
}

// TestEST enrols at a server as RFC 7030 has it, then renews with the certificate that came.
func TestEST(t *testing.T) {
	a, store := newAuthority(t), named(t)
	store.put(t, "auth", "tok-1\n")
	a.answer = func(cert []byte) []byte { return pkcs7(t, cert) }
	var seen []string
	server, https := served(t, func(w http.ResponseWriter, r *http.Request) {
		shown := "nobody"
		if len(r.TLS.PeerCertificates) > 0 {
			shown = r.TLS.PeerCertificates[0].Subject.CommonName
		}
		seen = append(seen, fmt.Sprint(r.Method, " ", r.URL.Path, " ", r.Header.Get("Content-Type"), " ", r.Header.Get("Authorization"), " ", shown))
		text, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		der, err := base64.StdEncoding.DecodeString(string(text))
		if err != nil {
			t.Error(err)
		}
		answer, err := a.Sign(r.Context(), SigningRequest{Request: der})
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/pkcs7-mime; smime-type=certs-only")
		if _, err := w.Write(answer); err != nil {
			t.Error(err)
		}
	})
	key, der, err := credential.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	store.put(t, "client-key-der", string(der))
	request, err := credential.Request(key, "SN-1")
	if err != nil {
		t.Fatal(err)
	}
	est := EST{HTTPS: https, Blobs: store, URL: func() string { return server.URL + "/.well-known/est/simpleenroll" }}
	sign := func(renewal bool) {
		t.Helper()
		answer, err := est.Sign(t.Context(), SigningRequest{Request: request, Name: "SN-1", Renewal: renewal})
		if err != nil {
			t.Fatal(err)
		}
		certs, err := credential.Parse(answer)
		if err != nil {
			t.Fatal(err)
		}
		chain, err := credential.Check(certs, key.Public(), "SN-1", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		store.put(t, "client-cert-der", string(credential.DER(chain)))
	}
	sign(false)
	sign(true)
	est.Basic = true
	sign(false)
	for i, want := range []string{
		"POST /.well-known/est/simpleenroll application/pkcs10 Bearer tok-1 nobody",
		"POST /.well-known/est/simplereenroll application/pkcs10  SN-1",
		"POST /.well-known/est/simpleenroll application/pkcs10 Basic " + base64.StdEncoding.EncodeToString([]byte("tok-1")) + " nobody",
	} {
		if seen[i] != want {
			t.Errorf("request %d was %s\nwant %s", i, seen[i], want)
		}
	}
}

// TestESTFaults has servers that are missing, slow or wrong. What is said of them never has the token in it, nor anything that
// is another the next time.
func TestESTFaults(t *testing.T) {
	nobody := nobodyAt(t, "tcp")
	stuck := make(chan struct{})
	t.Cleanup(func() { close(stuck) })
	server, https := served(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/busy":
			w.Header().Set("Retry-After", "120")
			w.WriteHeader(http.StatusServiceUnavailable)
		case "/later":
			w.Header().Set("Retry-After", "999999999999")
			w.WriteHeader(http.StatusAccepted)
		case "/moved":
			http.Redirect(w, r, "/simpleenroll", http.StatusFound)
		case "/huge":
			for range 20 {
				if _, err := w.Write(make([]byte, 4096)); err != nil {
					return // it has hung up
				}
			}
		case "/cut":
			w.Header().Set("Content-Length", "100")
			w.WriteHeader(http.StatusOK)
		case "/stuck":
			select {
			case <-stuck:
			case <-r.Context().Done():
			}
			panic(http.ErrAbortHandler) // no answer, that the client may see yet
		}
	})
	host := strings.TrimPrefix(server.URL, "https://")
	store := named(t)
	store.put(t, "auth", "tok-1")
	for name, c := range map[string]struct {
		url   string
		https HTTPS
		want  string
		retry time.Duration
	}{
		"busy":    {server.URL + "/busy", https, "the enrolment server " + host + " answered 503 Service Unavailable", 2 * time.Minute},
		"later":   {server.URL + "/later", https, "the enrolment server " + host + " answered 202 Accepted", 0},
		"moved":   {server.URL + "/moved", https, "the enrolment server " + host + " answered 302 Found", 0},
		"huge":    {server.URL + "/huge", https, "the enrolment server " + host + " answered with more than 65536 bytes", 0},
		"cut":     {server.URL + "/cut", https, "the enrolment server " + host + " is not reached: unexpected EOF", 0},
		"stuck":   {server.URL + "/stuck", https, "the enrolment server " + host + " has not answered within 0s", 0},
		"missing": {"https://" + nobody + "/x", https, "the enrolment server " + nobody + " is not reached: dial: connect: connection refused", 0},
		"unknown": {server.URL + "/busy", HTTPS{}, "the enrolment server " + host + " is not reached: tls: failed to verify certificate: x509: certificate signed by unknown authority", 0},
		"no CA":   {server.URL + "/busy", HTTPS{CAFile: "/nowhere/ca.pem"}, "the file of authorities cannot be read: open /nowhere/ca.pem: no such file or directory", 0},
		"plain":   {"http://" + host + "/busy", https, "the URL of the enrolment server is not one of https, or has a user in it", 0},
		"nowhere": {"", https, "nothing says where to enrol: neither enrol.url nor enrol_url of the policy", 0},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			if name == "stuck" {
				ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
			}
			defer cancel()
			_, err := EST{HTTPS: c.https, Blobs: store, URL: func() string { return c.url }}.Sign(ctx, SigningRequest{})
			if err == nil || err.Error() != c.want {
				t.Errorf("%v\nwant %s", err, c.want)
			}
			if refused, ok := errors.AsType[*refusal](err); c.retry > 0 && (!ok || refused.retry != c.retry) {
				t.Errorf("%+v; want to be asked again after %v", refused, c.retry)
			}
		})
	}
}

// TestSigner has a real program sign.
func TestSigner(t *testing.T) {
	path := program(t, `#!/bin/sh
case $1 in
enrol) head -n 1; echo "for $MUSTER_SERIAL" ;;
renew) echo "the CA is closed" >&2; exit 3 ;;
esac
`)
	got, err := Signer{Path: path}.Sign(t.Context(), SigningRequest{Request: []byte("x"), Name: "SN-1"})
	if want := "-----BEGIN CERTIFICATE REQUEST-----\nfor SN-1\n"; string(got) != want || err != nil {
		t.Errorf("it gives %q, %v; want %q", got, err, want)
	}
	_, err = Signer{Path: path}.Sign(t.Context(), SigningRequest{Renewal: true})
	if want := path + " failed, exit status 3: the CA is closed"; err == nil || err.Error() != want {
		t.Errorf("it fails with %v\nwant %s", err, want)
	}
	_, err = Signer{Path: program(t, "#!/bin/sh\nhead -c 70000 /dev/zero\n")}.Sign(t.Context(), SigningRequest{})
	if err == nil || !strings.HasSuffix(err.Error(), "it wrote more than 65536 bytes") {
		t.Errorf("too much: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = Signer{Path: program(t, "#!/bin/sh\necho looking >&2\nexec sleep 600\n")}.Sign(ctx, SigningRequest{})
	if err == nil || !strings.Contains(err.Error(), " was killed, it took too long") {
		t.Errorf("too long: %v", err)
	}
}

// TestOwnCertificate cannot show what is damaged.
func TestOwnCertificate(t *testing.T) {
	_, der, err := credential.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	for want, blobs := range map[string][2]string{
		"the blob client-key-der.0 has no private key in DER, be it PKCS #8, SEC 1 or PKCS #1": {"secret", "x"},
		"the blob client-cert-der.0 has no certificate":                                        {string(der), "x"},
		"": {string(der), ""},
	} {
		store := &safe{}
		store.put(t, "client-key-der", blobs[0])
		store.put(t, "client-cert-der", blobs[1])
		if _, err := (HTTPS{Own: store}).config(t.Context()); err != nil && err.Error() != want || err == nil && want != "" {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
}
