package daemon

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"muster/wire"
)

// TestTokenCheck names the setting that is wrong, and what would be right.
func TestTokenCheck(t *testing.T) {
	for want, change := range map[string]func(c *Config){
		`auth1.mode is "oauth"; off, oauth2 or`:               func(c *Config) { c.Auth1.Mode = "oauth" },
		`auth2.url is ""; one such as`:                        func(c *Config) { c.Auth2.Mode = "oauth2" },
		`auth2.url is "https://me@x/"; one such as`:           func(c *Config) { c.Auth2.URL = "https://me@x/" },
		`auth1.program is "x"; an absolute`:                   func(c *Config) { c.Auth1.Mode, c.Auth1.Program = "script", "x" },
		`auth1.ca_file is "x"; an absolute`:                   func(c *Config) { c.Auth1.CAFile = "x" },
		`auth1.timeout is 0s; 1s to 10m0s`:                    func(c *Config) { c.Auth1.Timeout = 0 },
		`auth1.into is "auth.2"; a secret blob`:               func(c *Config) { c.Auth1.Into = "auth.2" },
		`auth1.into is "user-x"; a secret blob`:               func(c *Config) { c.Auth1.Into = "user-x" },
		`auth1.into is "client-key-der"; a secret blob`:       func(c *Config) { c.Auth1.Into = "client-key-der" },
		`auth1.secret is "hunter2"; blob:NAME.INDEX, file`:    func(c *Config) { c.Auth1.Secret = "hunter2" },
		`auth1.secret is "file:x"; blob:NAME.INDEX, file`:     func(c *Config) { c.Auth1.Secret = "file:x" },
		`auth1.secret is "credential:a/b"; blob:NAME.IN`:      func(c *Config) { c.Auth1.Secret = "credential:a/b" },
		`auth1.secret is "blob:user-x"; a secret blob`:        func(c *Config) { c.Auth1.Secret = "blob:user-x" },
		`auth1.secret and auth1.into are the same blob, "aut`: func(c *Config) { c.Auth1.Secret = "blob:auth.1" },
		`auth1.secret and auth1.into are the same blob, "ext`: func(c *Config) { c.Auth1.Secret, c.Auth1.Into = "blob:ext-auth2", "ext-auth2.0" },
		`auth1.into is "auth", which is shown to the server`: func(c *Config) {
			c.Auth1.Mode, c.Auth1.Program, c.Auth1.Into = "script", "/x", "auth"
			c.Enrol.Mode, c.Enrol.URL = "https", "https://ca.example.com/est/simpleenroll"
		},
		`auth1.into and auth2.into are both "ext-auth1"; two `: func(c *Config) {
			c.Auth1.Mode, c.Auth1.Program, c.Auth1.Into = "script", "/x", "ext-auth1"
			c.Auth2.Mode, c.Auth2.Program = "script", "/x"
		},
		`auth1.into and auth2.into are both "auth.1"; two blo`: func(c *Config) {
			c.Auth1.Mode, c.Auth1.Program = "script", "/x"
			c.Auth2 = c.Auth1
		},
	} {
		c := DefaultConfig()
		change(&c)
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to say %q", err, want)
		}
	}
}

// TestAuthorised boots a device that is enrolled, gets one token by its certificate and another from a program, and renews the
// first as long as it runs. No token comes into the log.
func TestAuthorised(t *testing.T) {
	p := newProvider(t, 4)
	hook := filepath.Join(filepath.Dir(p.policyFile()), "hook")
	if err := os.WriteFile(hook, []byte("#!/bin/sh\necho \"very-secret-$1\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(hook, 0o755); err != nil {
		t.Fatal(err)
	}
	r := start(t, t.TempDir(), func(c *Config) {
		c.LogLevel = "debug"
		c.Policy.File = filepath.Join(filepath.Dir(hook), "policy.toml")
		c.Identity = Identity{From: []string{"configured"}, Serial: "SN-1"}
		c.Enrol.Mode, c.Enrol.CAFile = "https", p.caFile
		c.Auth1.Mode, c.Auth1.CAFile, c.Auth1.Patience = "oauth2", p.caFile, 0
		c.Auth2.Mode, c.Auth2.Program = "script", hook
	})
	nc := r.dial()
	await(t, nc, wire.Operational)
	changes, err := nc.SubscribeSync("sys.blob.auth.1")
	if err != nil || nc.Flush() != nil {
		t.Fatal(err)
	}
	if got := string(blobOf(t, nc, "auth.1")); !strings.HasPrefix(got, "very-secret-") {
		t.Errorf("auth.1 is %q", got)
	}
	if got := string(blobOf(t, nc, "ext-auth1.0")); got != "very-secret-auth2" {
		t.Errorf("ext-auth1.0 is %q", got)
	}
	for range 2 {
		if _, err := changes.NextMsg(patience); err != nil {
			t.Fatalf("the token is not renewed: %v", err)
		}
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if lines := r.log.lines("very-secret"); len(lines) > 0 || len(r.log.lines("503 Service Unavailable")) == 0 {
		t.Errorf("the log has %q", lines)
	}
}
