package policy

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const asTOML = `# of the test
version = "2026-11.2"
issued = 2026-11-24T08:00:00Z
ntp_servers = ["ntp1.example.com", "192.0.2.1:123"]
enrol_url = "https://ca.example.com/.well-known/est/simpleenroll"
auth1_url = "https://login.example.com/token"

[retry.muster]
backoff = ["1s", "2s", "5s"]
jitter = 20

[endpoint.telemetry]
url = "mqtts://mqtt.example.com:8883"
retry = "muster"
`

const asJSON = `{
  "version": "2026-11.2",
  "issued": "2026-11-24T08:00:00Z",
  "ntp_servers": ["ntp1.example.com", "192.0.2.1:123"],
  "enrol_url": "https://ca.example.com/.well-known/est/simpleenroll",
  "auth1_url": "https://login.example.com/token",
  "retry": {"muster": {"backoff": ["1s", "2s", "5s"], "jitter": 20}},
  "endpoint": {"telemetry": {"url": "mqtts://mqtt.example.com:8883", "retry": "muster"}}
}
`

// TestParse reads the same from both formats, and from what it writes itself.
func TestParse(t *testing.T) {
	want := &Document{
		Version: "2026-11.2", Issued: time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC),
		NTPServers: []string{"ntp1.example.com", "192.0.2.1:123"},
		EnrolURL:   "https://ca.example.com/.well-known/est/simpleenroll", Auth1URL: "https://login.example.com/token",
		Retry: map[string]Retry{"muster": {
			Backoff: []Duration{Duration(time.Second), Duration(2 * time.Second), Duration(5 * time.Second)}, Jitter: 20,
		}},
		Endpoint: map[string]Endpoint{"telemetry": {URL: "mqtts://mqtt.example.com:8883", Retry: "muster"}},
	}
	again, err := want.JSON()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		format Format
		text   string
	}{{TOML, asTOML}, {JSON, asJSON}, {JSON, string(again)}} {
		got, err := Parse(c.format, []byte(c.text))
		if err != nil {
			t.Errorf("%s: %v", c.format, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.format, diff)
		}
	}
}

// TestFaults names the line and what is wrong with it.
func TestFaults(t *testing.T) {
	for _, c := range []struct {
		format    Format
		old, new  string // changed in the text that is right
		want      string
		beginning bool // want is only how it begins
	}{
		{TOML, `version = "2026-11.2"`, `version = 7`, `line 2: version is a number; a text would be right`, false},
		{TOML, `version = "2026-11.2"`, ``, `line 1: version is missing`, false},
		{TOML, `version = "2026-11.2"`, `version = "of today"`, `line 2: version is "of today"; 1 to 64 characters without a space would be right`, false},
		{TOML, `issued = 2026-11-24T08:00:00Z`, `issued = 2026-11-24T08:00:00`, `line 3: issued has no time zone; one such as 2026-11-24T08:00:00Z would be right`, false},
		{TOML, `issued = 2026-11-24T08:00:00Z`, `issued = "today"`, `line 3: issued is "today"; a time such as "2026-11-24T08:00:00Z" would be right`, false},
		{TOML, `"192.0.2.1:123"`, `"a b"`, `line 4: ntp_servers has "a b" in it; a name or an address would be right`, false},
		{TOML, `"192.0.2.1:123"`, `"a", "b"`, `line 4: ntp_servers has 3 servers; at most 2 would be right`, false},
		{TOML, `"192.0.2.1:123"`, `1`, `line 4: ntp_servers has an element that is a number; a text would be right`, false},
		{TOML, `enrol_url = "https://ca`, `enrol_url = "http://ca`, `line 5: enrol_url is http; https would be right`, false},
		{TOML, `https://login.`, `https://me:secret@login.`, `line 6: auth1_url has a user in it; a policy is no place for secrets`, false},
		{TOML, `jitter = 20`, `jiter = 20`, `line 10: retry.muster.jiter is not known; did you mean jitter?`, false},
		{TOML, `jitter = 20`, `jitter = 120`, `line 10: retry.muster.jitter is 120; 0 to 100 would be right`, false},
		{TOML, `"5s"`, `"5 s"`, `line 9: retry.muster.backoff has an element that is "5 s"; a duration such as "90s" would be right`, false},
		{TOML, `"5s"`, `"25h"`, `line 9: retry.muster.backoff has 25h0m0s in it; 10ms to 24h0m0s would be right`, false},
		{TOML, `["1s", "2s", "5s"]`, `[]`, `line 9: retry.muster.backoff has 0 durations; 1 to 16 would be right`, false},
		{TOML, `retry = "muster"`, `retry = "mustard"`, `line 14: endpoint.telemetry.retry is "mustard", and there is no [retry.mustard]`, false},
		{TOML, `mqtts://mqtt.example.com:8883`, `mqtt.example.com`, `line 13: endpoint.telemetry.url is no URL; one such as https://example.com/x would be right`, false},
		{TOML, `[endpoint.telemetry]`, `[endpoint."a b"]`, `line 12: endpoint.a b cannot be used: endpoint name`, true},
		{TOML, `jitter = 20`, `jitter = `, `line 10: `, true},
		{TOML, `jitter = 20`, `backoff = ["1s"]`, `line 10: `, true},
		{JSON, `"version": "2026-11.2"`, `"version": null`, `line 2: version is null; a text would be right`, false},
		{JSON, `"version"`, `"Version"`, `line 1: version is missing`, false},
		{JSON, `"jitter": 20`, `"jitter": 2.5`, `line 7: retry.muster.jitter is a number; an integer would be right`, false},
		{JSON, `"jitter": 20`, `"jitter": 20, "jitter": 30`, `line 7: "jitter" stands there for the second time`, false},
		{JSON, `"version"`, `"server": 1, "version"`, `line 2: server is not known; did you mean version?`, false},
		{JSON, `"version"`, `version`, `line 2: `, true},
		{JSON, asJSON[40:], ``, `line 3: it ends in the middle`, false},
		{JSON, asJSON, ``, `line 1: it ends in the middle`, false},
		{JSON, asJSON, `[]`, `line 1: it is no object`, false},
		{JSON, asJSON, strings.Repeat("[", 100000), `line 1: it is more than 8 deep`, false},
		{JSON, asJSON, asJSON + "{}", `line 10: there is something behind its end`, false},
		{JSON, asJSON, strings.Repeat(" ", MaxSize+1), `it has more than the 1048576 bytes that a policy may have`, false},
	} {
		text := asTOML
		if c.format == JSON {
			text = asJSON
		}
		if !strings.Contains(text, c.old) {
			t.Fatalf("%q is not in the text", c.old)
		}
		_, err := Parse(c.format, []byte(strings.Replace(text, c.old, c.new, 1)))
		if err == nil || err.Error() != c.want && (!c.beginning || !strings.HasPrefix(err.Error(), c.want)) {
			t.Errorf("%s with %.40q: %v\nwant %s", c.format, c.new, err, c.want)
		}
	}
}

func TestFormatOf(t *testing.T) {
	for path, want := range map[string]Format{"/a/b.toml": TOML, "/a/b.json": JSON, "/a/b.yaml": ""} {
		if got, err := FormatOf(path); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
}

// FuzzParse gives documents that can be written and read again, or errors.
func FuzzParse(f *testing.F) {
	f.Add(true, asTOML)
	f.Add(false, asJSON)
	f.Fuzz(func(t *testing.T, isTOML bool, text string) {
		format := JSON
		if isTOML {
			format = TOML
		}
		d, err := Parse(format, []byte(text))
		if err != nil {
			return
		}
		again, err := d.JSON()
		if err != nil {
			t.Fatal(err)
		}
		read, err := Parse(JSON, again)
		if err != nil {
			t.Fatalf("%s: %v", again, err)
		}
		if diff := cmp.Diff(d, read, cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
	})
}
