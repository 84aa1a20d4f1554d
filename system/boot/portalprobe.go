package boot

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"muster/wire"
)

// HTTPProbe gets a URL and holds the answer against what is expected of it. The zero value expects 204. It follows nothing,
// takes no proxy from the environment, keeps no connection and no cookie, and reads no more of a body than it compares.
type HTTPProbe struct {
	Status int            // 0: 204
	Body   string         // how the body has to begin
	Roots  *x509.CertPool // nil: those of this machine
}

const (
	longestHeader   = 16 << 10 // bytes of an answer's header, at most
	longestLocation = 200      // bytes of what is told of one
)

// Look implements [PortalProbe].
func (p HTTPProbe) Look(ctx context.Context, address string) PortalLook {
	transport := &http.Transport{
		DialContext: new(net.Dialer).DialContext, TLSClientConfig: &tls.Config{RootCAs: p.Roots, MinVersion: tls.VersionTLS12},
		DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: longestHeader,
	}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return p.barred(address, err)
	}
	r.Header.Set("User-Agent", "muster")
	r.Header.Set("Cache-Control", "no-cache")
	answer, err := transport.RoundTrip(r)
	if err != nil {
		return p.barred(address, err)
	}
	defer func() { _ = answer.Body.Close() }()
	return p.judge(answer)
}

// judge says what an answer means.
func (p HTTPProbe) judge(answer *http.Response) PortalLook {
	where := answer.Request.URL.Host
	status := p.Status
	if status == 0 {
		status = http.StatusNoContent
	}
	switch code := answer.StatusCode; {
	case code != status && code >= 500 && code != http.StatusNetworkAuthenticationRequired:
		return PortalLook{Result: wire.PortalNoInternet, Why: fmt.Sprintf("%s answers %d, where %d would be right,", where, code, status)}
	case code != status:
		look := PortalLook{Result: wire.PortalCaptive, URL: location(answer), Why: fmt.Sprintf("a captive portal answers %d for %s", code, where)}
		if look.URL != "" {
			look.Why += " and names " + look.URL
		}
		return look
	}
	begins := make([]byte, len(p.Body))
	n, err := io.ReadFull(answer.Body, begins)
	switch {
	case string(begins[:n]) == p.Body:
		return PortalLook{Result: wire.PortalOK}
	case err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		return p.barred(answer.Request.URL.String(), err)
	}
	return PortalLook{Result: wire.PortalCaptive, Why: "a captive portal answers another text for " + where}
}

// barred says what it means that there is no answer.
func (p HTTPProbe) barred(address string, err error) PortalLook {
	where := "the address"
	if u, err := url.Parse(address); err == nil {
		where = u.Host
	}
	_, stranger := errors.AsType[x509.UnknownAuthorityError](err)
	_, another := errors.AsType[x509.HostnameError](err)
	_, inPlain := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case stranger, another:
		return PortalLook{Result: wire.PortalCaptive, Why: fmt.Sprintf("somebody else answers for %s (%s)", where, lastWords(err.Error()))}
	case inPlain:
		return PortalLook{Result: wire.PortalCaptive, Why: fmt.Sprintf("somebody else answers for %s (without TLS)", where)}
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return PortalLook{Result: wire.PortalNoInternet, Why: fmt.Sprintf("no answer from %s within %v", where, lookBudget)}
	}
	return PortalLook{Result: wire.PortalNoInternet, Why: fmt.Sprintf("no answer from %s (%s)", where, lastWords(plain(err, lookBudget).Error()))}
}

// location gives where an answer leads to, as far as it may be told: what stands behind the path may be meant for one device.
func location(answer *http.Response) string {
	to, err := answer.Location()
	if err != nil || to.Scheme != "http" && to.Scheme != "https" || to.Host == "" {
		return ""
	}
	text := (&url.URL{Scheme: to.Scheme, Host: to.Host, Path: to.Path}).String()
	return cut(strings.Map(func(r rune) rune {
		if r <= ' ' || r >= 0x7f {
			return '?'
		}
		return r
	}, text), longestLocation)
}
