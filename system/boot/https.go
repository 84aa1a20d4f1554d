package boot

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"muster/system/boot/credential"
	"muster/wire"
)

// HTTPS speaks to servers whose certificate it checks, and can show them that of the device.
type HTTPS struct {
	Own    Blobs  // from which client-key-der and client-cert-der are shown; nil: none is
	CAFile string // the authorities in PEM that servers may be signed by; "": those of the system
}

// maxAnswer is how much of an answer is read.
const maxAnswer = 64 << 10

// refusal is an answer of a server that is none. It may say when to ask again.
type refusal struct {
	said  string
	retry time.Duration // 0: it does not say
}

// Error implements error.
func (r *refusal) Error() string { return r.said }

// post sends body to a server, which is called by what it does, and gives its answer. What is no 200 is an error, a [refusal]
// which names the host and never what was sent. Redirects are not followed, and no proxy is used.
func (h HTTPS) post(ctx context.Context, does, to string, header http.Header, body []byte) ([]byte, error) {
	u, err := url.Parse(to)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, fmt.Errorf("the URL of the %s server is not one of https, or has a user in it", does)
	}
	config, err := h.config(ctx)
	if err != nil {
		return nil, err
	}
	who := fmt.Sprintf("the %s server %s", does, u.Host)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%s cannot be asked", who)
	}
	request.Header = header
	client := http.Client{
		Transport: &http.Transport{
			TLSClientConfig: config, DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: maxAnswer,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	began := time.Now()
	answer, err := client.Do(request)
	if err != nil {
		return nil, unreached(ctx, who, err, began)
	}
	defer func() { _ = answer.Body.Close() }() // all that is wanted of it has been read
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	switch {
	case answer.StatusCode != http.StatusOK:
		return text, &refusal{fmt.Sprintf("%s answered %d %s", who, answer.StatusCode, http.StatusText(answer.StatusCode)), retryAfter(answer.Header)}
	case err != nil:
		return nil, unreached(ctx, who, err, began)
	case len(text) > maxAnswer:
		return nil, fmt.Errorf("%s answered with more than %d bytes", who, maxAnswer)
	}
	return text, nil
}

// unreached says why a server has not answered, without the URL.
func unreached(ctx context.Context, who string, err error, began time.Time) error {
	if outer, ok := errors.AsType[*url.Error](err); ok {
		err = outer.Err
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%s has not answered within %v", who, time.Since(began).Round(time.Second))
	}
	return fmt.Errorf("%s is not reached: %w", who, lasting(err))
}

// lasting gives of an error what is the same the next time: no port of ours, no time.
func lasting(err error) error {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		if dns.IsNotFound {
			return errors.New("there is no such name")
		}
		return errors.New("its name is not resolved")
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return errors.New("its certificate has expired or is not yet valid")
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return fmt.Errorf("%s: %w", op.Op, op.Err)
	}
	return err
}

// retryAfter is when a server wants to be asked again, 0 when it does not say.
func retryAfter(header http.Header) time.Duration {
	seconds, err := strconv.Atoi(header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return min(time.Duration(min(seconds, 3600))*time.Second, time.Hour)
}

// config is how TLS is spoken.
func (h HTTPS) config(ctx context.Context) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if h.CAFile != "" {
		text, err := readBounded(h.CAFile, wire.MaxBlob)
		if err != nil {
			return nil, fmt.Errorf("the file of authorities cannot be read: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("there is no certificate in PEM in %s", h.CAFile)
		}
	}
	if h.Own == nil {
		return config, nil
	}
	own, err := h.own(ctx)
	if err != nil {
		return nil, err
	}
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own, nil }
	return config, nil
}

// own is the certificate of the device with its key, an empty one when there is none.
func (h HTTPS) own(ctx context.Context) (*tls.Certificate, error) {
	key, cert, err := readPair(ctx, h.Own)
	if err != nil || len(key) == 0 || len(cert) == 0 {
		return &tls.Certificate{}, err
	}
	signer, err := credential.ParseKey(key)
	if err != nil {
		return nil, fmt.Errorf("the blob client-key-der.0 has %w", err)
	}
	chain, err := x509.ParseCertificates(cert)
	if err != nil {
		return nil, errors.New("the blob client-cert-der.0 has no certificate")
	}
	own := &tls.Certificate{PrivateKey: signer}
	for _, c := range chain {
		own.Certificate = append(own.Certificate, c.Raw)
	}
	return own, nil
}

// The blobs of the device's credential.
var (
	keyBlob  = wire.BlobKey{Name: "client-key-der"}
	certBlob = wire.BlobKey{Name: "client-cert-der"}
)

// readPair reads the key and the certificate of the device.
func readPair(ctx context.Context, blobs Blobs) (key, cert []byte, err error) {
	if key, err = readBlob(ctx, blobs, keyBlob); err == nil {
		cert, err = readBlob(ctx, blobs, certBlob)
	}
	return key, cert, err
}

// readBlob reads a whole blob.
func readBlob(ctx context.Context, blobs Blobs, key wire.BlobKey) ([]byte, error) {
	part, err := blobs.Get(ctx, wire.Internal, wire.BlobRange{BlobKey: key})
	if err != nil {
		return nil, fmt.Errorf("the blob %s.%d cannot be read: %w", key.Name, key.Index, err)
	}
	return part.Data, nil
}

// secretOf reads a secret that is text from a blob or, when that is not named, from a file; spaces around it are no part of it.
func secretOf(ctx context.Context, blobs Blobs, key wire.BlobKey, file string) (string, error) {
	var secret []byte
	var err error
	switch {
	case file != "":
		if secret, err = readSecret(file); err != nil {
			err = fmt.Errorf("the file of the secret cannot be read: %w", err)
		}
	case key.Name != "":
		secret, err = readBlob(ctx, blobs, key)
	}
	text := strings.TrimSpace(string(secret))
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "", errors.New("the secret is no line of text")
	}
	return text, err
}

// readSecret reads a file that not everybody can read.
func readSecret(file string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if mode := info.Mode().Perm(); mode&0o007 != 0 {
		return nil, fmt.Errorf("%s may be read by everybody (mode %04o); 0600 would be right", file, mode)
	}
	return readBounded(file, maxAnswer)
}

// CredentialFile is where systemd puts a credential of the daemon's unit.
func CredentialFile(name string) string {
	folder := os.Getenv("CREDENTIALS_DIRECTORY")
	if folder == "" {
		folder = "/run/credentials/muster.service" // where it is looked for is said when it is not there
	}
	return folder + "/" + name
}
