package boot

import (
	"context"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"muster/wire"
)

// web is a server on loopback, which is asked once by each look.
func web(t *testing.T, answer http.HandlerFunc) (address string, asked *atomic.Int32) {
	t.Helper()
	asked = new(atomic.Int32)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL + "/check", asked
}

// secureWeb is one with TLS, whose certificate is of example.com and 127.0.0.1.
func secureWeb(t *testing.T, answer http.HandlerFunc) (address string, roots *x509.CertPool) {
	t.Helper()
	s := httptest.NewUnstartedServer(answer)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of those who do not trust it
	s.StartTLS()
	t.Cleanup(s.Close)
	roots = x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return s.URL + "/check", roots
}

// answers is an answer with that status, and to where it leads.
func answers(status int, to, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if to != "" {
			w.Header().Set("Location", to)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
}

// endless is an answer whose body has no end.
func endless(w http.ResponseWriter, r *http.Request) {
	for r.Context().Err() == nil {
		if _, err := io.WriteString(w, strings.Repeat("portal ", 1000)); err != nil {
			return
		}
	}
}

// wordy is an answer whose header is longer than anybody reads.
func wordy(w http.ResponseWriter, _ *http.Request) {
	for range 100 {
		w.Header().Add("X-Portal", strings.Repeat("x", 1000))
	}
}

func TestHTTPProbe(t *testing.T) {
	for name, c := range map[string]struct {
		probe  HTTPProbe
		answer http.HandlerFunc
		want   PortalLook
	}{
		"free":              {HTTPProbe{}, answers(204, "", ""), free},
		"free, by its text": {HTTPProbe{Status: 200, Body: "success"}, answers(200, "", "success\n"), free},
		"free, any text":    {HTTPProbe{Status: 200}, endless, free},
		"redirected": {
			HTTPProbe{},
			answers(302, "http://me:secret@portal.example/login?mac=02:00:00:00:00:01&session=secret#x", ""),
			PortalLook{wire.PortalCaptive, "a captive portal answers 302 for HOST and names http://portal.example/login", "http://portal.example/login"},
		},
		"redirected to a script": {
			HTTPProbe{}, answers(307, "javascript:alert(1)", ""), PortalLook{Result: wire.PortalCaptive, Why: "a captive portal answers 307 for HOST"},
		},
		"redirected far away": {
			HTTPProbe{}, answers(302, "https://p.example/"+strings.Repeat("x", 3000), ""), PortalLook{
				wire.PortalCaptive, "a captive portal answers 302 for HOST and names https://p.example/" + strings.Repeat("x", 182) + "…",
				"https://p.example/" + strings.Repeat("x", 182) + "…",
			},
		},
		"a page":            {HTTPProbe{}, answers(200, "", "<html>"), PortalLook{Result: wire.PortalCaptive, Why: "a captive portal answers 200 for HOST"}},
		"a page, for ever":  {HTTPProbe{}, endless, PortalLook{Result: wire.PortalCaptive, Why: "a captive portal answers 200 for HOST"}},
		"login required":    {HTTPProbe{}, answers(511, "", ""), PortalLook{Result: wire.PortalCaptive, Why: "a captive portal answers 511 for HOST"}},
		"another text":      {HTTPProbe{Status: 200, Body: "success"}, answers(200, "", "log in"), PortalLook{Result: wire.PortalCaptive, Why: "a captive portal answers another text for HOST"}},
		"another, for ever": {HTTPProbe{Status: 200, Body: "success"}, endless, PortalLook{Result: wire.PortalCaptive, Why: "a captive portal answers another text for HOST"}},
		"half the text":     {HTTPProbe{Status: 200, Body: "success"}, answers(200, "", "succ"), PortalLook{Result: wire.PortalCaptive, Why: "a captive portal answers another text for HOST"}},
		"broken": {
			HTTPProbe{}, answers(503, "", ""), PortalLook{Result: wire.PortalNoInternet, Why: "HOST answers 503, where 204 would be right,"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			address, asked := web(t, c.answer)
			look := c.probe.Look(t.Context(), address)
			u, _ := url.Parse(address)
			look.Why = strings.ReplaceAll(look.Why, u.Host, "HOST")
			if look != c.want || asked.Load() != 1 {
				t.Errorf("asked %d times, saw\n%+v, want once\n%+v", asked.Load(), look, c.want)
			}
		})
	}
}

// TestHTTPProbeWordy gives up on a header that does not end.
func TestHTTPProbeWordy(t *testing.T) {
	address, _ := web(t, wordy)
	if look := (HTTPProbe{}).Look(t.Context(), address); look.Result != wire.PortalNoInternet || !strings.Contains(look.Why, "exceeded 16384 bytes") {
		t.Errorf("saw %+v", look)
	}
}

// TestHTTPProbeTLS looks at servers whose certificates are right and wrong.
func TestHTTPProbeTLS(t *testing.T) {
	address, roots := secureWeb(t, answers(204, "", ""))
	plain, _ := web(t, answers(204, "", ""))
	host := func(address string) string { u, _ := url.Parse(address); return u.Host }
	for name, c := range map[string]struct {
		probe   HTTPProbe
		address string
		want    wire.PortalResult
		why     string
	}{
		"free":         {HTTPProbe{Roots: roots}, address, wire.PortalOK, ""},
		"a stranger's": {HTTPProbe{}, address, wire.PortalCaptive, "somebody else answers for " + host(address) + " ("},
		"another's": {
			HTTPProbe{Roots: roots},
			strings.Replace(address, "127.0.0.1", "localhost", 1), wire.PortalCaptive,
			"somebody else answers for " + strings.Replace(host(address), "127.0.0.1", "localhost", 1) + " (",
		},
		"none": {
			HTTPProbe{Roots: roots},
			strings.Replace(plain, "http:", "https:", 1), wire.PortalCaptive,
			"somebody else answers for " + host(plain) + " (without TLS)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			look := c.probe.Look(t.Context(), c.address)
			if look.Result != c.want || !strings.HasPrefix(look.Why, c.why) {
				t.Errorf("saw %+v, want %s, %s", look, c.want, c.why)
			}
		})
	}
}

// TestHTTPProbeNobody looks where nobody is, where nobody answers, and where something else does.
func TestHTTPProbeNobody(t *testing.T) {
	nobody := nobodyAt(t, "tcp")
	if look := (HTTPProbe{}).Look(t.Context(), "http://"+nobody); look.Result != wire.PortalNoInternet || look.Why != "no answer from "+nobody+" (connect: connection refused)" {
		t.Errorf("where nobody is: %+v", look)
	}
	if look := (HTTPProbe{}).Look(t.Context(), "http://no.such.name.invalid/x"); look.Result != wire.PortalNoInternet || !strings.HasPrefix(look.Why, "no answer from no.such.name.invalid (") {
		t.Errorf("of no name: %+v", look)
	}
	for name, says := range map[string]string{"nothing": "", "garbage": "\x16\x03\x01 this is no answer\r\n\r\n", "half": "HTTP/1.1 204 No"} {
		address := mumbling(t, says)
		ctx, cancel := context.WithTimeout(t.Context(), lookBudget/50)
		look := HTTPProbe{}.Look(ctx, "http://"+address)
		cancel()
		if look.Result != wire.PortalNoInternet || !strings.HasPrefix(look.Why, "no answer from "+address) {
			t.Errorf("%s: %+v", name, look)
		}
	}
}

// mumbling is a server that says this to everybody, whatever is asked, and then nothing until the test ends.
func mumbling(t *testing.T, says string) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				_, _ = io.WriteString(conn, says)
				_, _ = io.Copy(io.Discard, conn) // until the other end goes
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); serving.Wait() })
	return l.Addr().String()
}

// FuzzLocation tells of no place that is not printable, or has more than where it is.
func FuzzLocation(f *testing.F) {
	for _, to := range []string{"/login", "http://me:secret@x/?q#f", "//[::1%25eth0]:80/ä%00", "data:,x", "http://x/%3fq", "http://[::1", "http:///x"} {
		f.Add(to)
	}
	f.Fuzz(func(t *testing.T, to string) {
		asked := &http.Request{URL: &url.URL{Scheme: "http", Host: "x"}}
		text := location(&http.Response{StatusCode: http.StatusFound, Header: http.Header{"Location": {to}}, Request: asked})
		if len(text) > longestLocation+len("…") || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("%q is told as %q", to, text)
		}
		if text != "" && !strings.HasPrefix(text, "http://") && !strings.HasPrefix(text, "https://") {
			t.Errorf("%q is told as %q", to, text)
		}
	})
}
