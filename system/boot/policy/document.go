package policy

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"muster/wire"
)

// Document is a policy. The tags say what people read in docs/policy.md, which is made from them.
type Document struct {
	Version    string              `json:"version" policy:"required" doc:"What people call this policy: 1 to 64 characters, such as \"2026-11.2\"."`
	Issued     time.Time           `json:"issued" policy:"required" doc:"When it was issued: a time with its zone. One that was issued before the policy in force is refused."`
	NTPServers []string            `json:"ntp_servers,omitempty" doc:"One or two servers for the time, each a name or an address; two have to agree. They are written to the blob ntp-server, with spaces between."`
	EnrolURL   string              `json:"enrol_url,omitempty" doc:"Where the device has its certificate signed, for enrol.mode = \"https\" without a URL of its own; https only."`
	Auth1URL   string              `json:"auth1_url,omitempty" doc:"Where the token of AUTH1 comes from, for auth1.mode = \"oauth2\" without a URL of its own; https only."`
	Auth2URL   string              `json:"auth2_url,omitempty" doc:"The same for AUTH2."`
	Retry      map[string]Retry    `json:"retry,omitempty" doc:"How to retry, by name. What is named muster holds for the daemon's own requests."`
	Endpoint   map[string]Endpoint `json:"endpoint,omitempty" doc:"The services of the participants, by name."`
}

// Retry is how often something that failed is tried again.
type Retry struct {
	Backoff []Duration `json:"backoff" policy:"required" doc:"How long to wait after the first failure, the second, and so on; the last holds from then on. 1 to 16 durations of 10ms to 24h."`
	Jitter  int        `json:"jitter,omitempty" doc:"By how many percent at most each is lengthened by chance: 0 to 100."`
}

// Endpoint is a service that a participant reaches.
type Endpoint struct {
	URL   string `json:"url" policy:"required" doc:"Where it is: a URL without user or password."`
	Retry string `json:"retry,omitempty" doc:"The name of its retry."`
}

// Duration is a time.Duration written as "1m30s".
type Duration time.Duration

// UnmarshalText reads a duration.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil || parsed < 0 {
		return fmt.Errorf("is %q; a duration such as \"90s\" would be right", text)
	}
	*d = Duration(parsed)
	return nil
}

// MarshalText writes it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// The bounds of a document.
const (
	MaxSize      = 1 << 20 // of its text, in bytes
	maxText      = 64
	maxURL       = 2048
	maxServers   = 2
	maxBackoffs  = 16
	maxRetries   = 32
	maxEndpoints = 256
	minBackoff   = 10 * time.Millisecond
	maxBackoff   = 24 * time.Hour
)

// JSON gives the document as JSON, for whoever reads no TOML.
func (d *Document) JSON() ([]byte, error) { return json.Marshal(d) }

// check holds the values against what they may be.
func (d *Document) check() error {
	if d.Version == "" || len(d.Version) > maxText || strings.ContainsFunc(d.Version, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return wrong("is %q; 1 to %d characters without a space would be right", d.Version, maxText).at("version")
	}
	if d.Issued.Year() < 2000 || d.Issued.Year() > 9999 {
		return wrong("is %s, which is no time at which a policy was issued", d.Issued.Format(time.RFC3339)).at("issued")
	}
	if len(d.NTPServers) > maxServers {
		return wrong("has %d servers; at most %d would be right", len(d.NTPServers), maxServers).at("ntp_servers")
	}
	for _, server := range d.NTPServers {
		if !isHost(server) {
			return wrong("has %q in it; a name or an address would be right", server).at("ntp_servers")
		}
	}
	for key, text := range map[string]string{"enrol_url": d.EnrolURL, "auth1_url": d.Auth1URL, "auth2_url": d.Auth2URL} {
		if text == "" {
			continue
		}
		if err := checkURL(text, "https"); err != nil {
			return err.at(key)
		}
	}
	return d.checkTables()
}

// checkTables is check for what has names.
func (d *Document) checkTables() error {
	if len(d.Retry) > maxRetries {
		return wrong("has %d tables; at most %d would be right", len(d.Retry), maxRetries).at("retry")
	}
	for name, retry := range d.Retry {
		if err := wire.CheckName("retry", name); err != nil {
			return wrong("cannot be used: %v", err).at("retry", name)
		}
		if n := len(retry.Backoff); n == 0 || n > maxBackoffs {
			return wrong("has %d durations; 1 to %d would be right", n, maxBackoffs).at("retry", name, "backoff")
		}
		for _, wait := range retry.Backoff {
			if w := time.Duration(wait); w < minBackoff || w > maxBackoff {
				return wrong("has %v in it; %v to %v would be right", w, minBackoff, maxBackoff).at("retry", name, "backoff")
			}
		}
		if retry.Jitter < 0 || retry.Jitter > 100 {
			return wrong("is %d; 0 to 100 would be right", retry.Jitter).at("retry", name, "jitter")
		}
	}
	if len(d.Endpoint) > maxEndpoints {
		return wrong("has %d tables; at most %d would be right", len(d.Endpoint), maxEndpoints).at("endpoint")
	}
	for name, endpoint := range d.Endpoint {
		if err := wire.CheckName("endpoint", name); err != nil {
			return wrong("cannot be used: %v", err).at("endpoint", name)
		}
		if err := checkURL(endpoint.URL); err != nil {
			return err.at("endpoint", name, "url")
		}
		if _, there := d.Retry[endpoint.Retry]; !there && endpoint.Retry != "" {
			return wrong("is %q, and there is no [retry.%s]", endpoint.Retry, endpoint.Retry).at("endpoint", name, "retry")
		}
	}
	return nil
}

// checkURL holds a URL against what it may be.
func checkURL(text string, schemes ...string) *fault {
	u, err := url.Parse(text)
	switch {
	case len(text) > maxURL:
		return wrong("has %d characters; at most %d would be right", len(text), maxURL)
	case err != nil || u.Scheme == "" || u.Host == "":
		return wrong("is no URL; one such as https://example.com/x would be right")
	case u.User != nil:
		return wrong("has a user in it; a policy is no place for secrets")
	case len(schemes) > 0 && !slices.Contains(schemes, u.Scheme):
		return wrong("is %s; %s would be right", u.Scheme, strings.Join(schemes, " or "))
	}
	return nil
}

// isHost reports whether a text could name a server, with or without a port.
func isHost(text string) bool {
	const marks = ".:-_[]%"
	for _, r := range text {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune(marks, r) {
			return false
		}
	}
	return text != "" && len(text) <= 253
}
