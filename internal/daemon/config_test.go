package daemon

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/wire"
)

func TestConfigFile(t *testing.T) {
	c := load(t, `
dir = "/srv/muster"
loops = 3
pause = "10s"
[store]
max_bytes = 33554432
[hold.DHCP]
limit = "90s"
on_limit = "proceed"
[stay]
MODAL_UPDATING = "1h"
[[required]]
name = "backup"
states = ["OPERATIONAL"]
`)
	want := DefaultConfig()
	want.Dir, want.Loops, want.Pause = "/srv/muster", 3, Duration(10*time.Second)
	want.Store.MaxBytes = 32 << 20
	want.Hold["DHCP"] = Hold{Duration(90 * time.Second), wire.LimitProceed}
	want.Stay["MODAL_UPDATING"] = Duration(time.Hour)
	want.Required = []Required{{Name: "backup", States: []wire.State{wire.Operational}}}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
	if err := c.Check(); err != nil {
		t.Errorf("Check: %v", err)
	}
}

// TestConfigRoundTrip prints the defaults and reads them back.
func TestConfigRoundTrip(t *testing.T) {
	var text bytes.Buffer
	if err := DefaultConfig().Write(&text); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(DefaultConfig(), load(t, text.String())); diff != "" {
		t.Errorf("defaults, written and read (-want +got):\n%s\n%s", diff, text.String())
	}
}

func TestConfigErrors(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"unknown key":       {`lisen = "x"`, `lisen is not a setting; did you mean listen?`},
		"unknown in table":  {"[store]\nmax_byte = 1", "store.max_byte is not a setting; did you mean max_bytes?"},
		"unknown in array":  {"[[required]]\nnam = 'x'", "did you mean name?"},
		"syntax":            {"dir = ", "line 1"},
		"duration":          {`pause = "soon"`, `"soon" is not a duration`},
		"negative duration": {`pause = "-1s"`, `"-1s" is not a duration`},
		"type":              {`loops = "two"`, "loops"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := LoadConfig(write(t, tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want it to say %q", err, tt.want)
			}
		})
	}
}

func TestConfigCheck(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"dir is":                func(c *Config) { c.Dir = "here" },
		"listen is":             func(c *Config) { c.Listen = "nowhere" },
		"loopback only":         func(c *Config) { c.Listen = "0.0.0.0:4222" },
		"systemd.ready is":      func(c *Config) { c.Systemd.Ready = "POLICY_INVALID" },
		"platform is":           func(c *Config) { c.Platform = "amiga" },
		"loops is 0":            func(c *Config) { c.Loops = 0 },
		"store.max_bytes is 1":  func(c *Config) { c.Store.MaxBytes = 1 },
		"store.key_file is":     func(c *Config) { c.Store.KeyFile = "key" },
		"store.credential is":   func(c *Config) { c.Store.Credential = "a/b" },
		"one of them would be":  func(c *Config) { c.Store.KeyFile, c.Store.Credential = "/key", "key" },
		"log_level is":          func(c *Config) { c.LogLevel = "loud" },
		"hold.DHCP.on_limit is": func(c *Config) { c.Hold["DHCP"] = Hold{Duration(1), "shrug"} },
		`"MODAL" is not a state; the nearest is MODAL_UPDATING`: func(c *Config) { c.Stay["MODAL"] = 1 },
		"stay.DHCP is set":                             func(c *Config) { c.Stay["DHCP"] = 1 },
		"policy.file is \"policy.toml":                 func(c *Config) { c.Policy.File = "policy.toml" },
		"policy.file: \"/x/policy.yml":                 func(c *Config) { c.Policy.File = "/x/policy.yml" },
		"scripts.dir is":                               func(c *Config) { c.Scripts.Dir = "notifiers.d" },
		"scripts.retry is 0s; 10ms":                    func(c *Config) { c.Scripts.Retry = 0 },
		"updates.dir is":                               func(c *Config) { c.Updates.Dir = "updates.d" },
		"updates.timeout is 0s; 10":                    func(c *Config) { c.Updates.Timeout = 0 },
		`clock.mode is "obey"; off, observe or manage`: func(c *Config) { c.Clock.Mode = "obey" },
		`portal.mode is "on"; off or observe`:          func(c *Config) { c.Portal.Mode = "on" },
		`portal.mode is "observe", and`:                func(c *Config) { c.Portal.Mode = "observe" },
		`portal.http is "https://x"`:                   func(c *Config) { c.Portal.HTTP = "https://x" },
		`portal.http is "http://me@x"`:                 func(c *Config) { c.Portal.HTTP = "http://me@x" },
		`portal.https is "https:"`:                     func(c *Config) { c.Portal.HTTPS = "https:" },
		"portal.status is 302":                         func(c *Config) { c.Portal.Status = 302 },
		"portal.body is \"x\", and an answer 204":      func(c *Config) { c.Portal.Body = "x" },
		"portal.body has 1025 bytes":                   func(c *Config) { c.Portal.Body = strings.Repeat("x", 1025) },
		`network.mode is "on"; off`:                    func(c *Config) { c.Network.Mode = "on" },
		"network.interfaces[0] is \"\"":                func(c *Config) { c.Network.Interfaces = []string{""} },
		"network.settle is 0s":                         func(c *Config) { c.Network.Settle = 0 },
		"required[0].name":                             func(c *Config) { c.Required = []Required{{Name: "a.b"}} },
		`required[1].name is "a" f`:                    func(c *Config) { c.Required = []Required{{Name: "a"}, {Name: "a"}} },
	} {
		c := DefaultConfig()
		change(&c)
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
}

func TestConfigEnvironment(t *testing.T) {
	t.Setenv("MUSTER_LISTEN", "127.0.0.1:0")
	if c := load(t, `listen = "127.0.0.1:1"`); c.Listen != "127.0.0.1:0" {
		t.Errorf("listen is %q; the environment comes after the file", c.Listen)
	}
}

func load(t *testing.T, text string) Config {
	t.Helper()
	c, err := LoadConfig(write(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "muster.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
