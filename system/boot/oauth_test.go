package boot

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"muster/wire"
)

// TestOAuth gets a token by a secret and by the certificate of the device.
func TestOAuth(t *testing.T) {
	var seen string
	server, https := served(t, func(w http.ResponseWriter, r *http.Request) {
		shown := "nobody"
		if len(r.TLS.PeerCertificates) > 0 {
			shown = r.TLS.PeerCertificates[0].Subject.CommonName
		}
		form, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		id, secret, _ := r.BasicAuth()
		seen = fmt.Sprint(r.Method, " ", string(form), " ", id, ":", secret, " ", shown)
		if _, err := io.WriteString(w, `{"access_token":"tok-1","token_type":"Bearer","expires_in":3600,"scope":"x"}`); err != nil {
			t.Error(err)
		}
	})
	store, a := named(t), newAuthority(t)
	enrolled(t, a, store)
	store.put(t, "ext-auth1", "s%cret \n")
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("from a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	url := func() string { return server.URL }
	for name, c := range map[string]struct {
		oauth OAuth
		want  string
	}{
		"certificate": {OAuth{Scope: "device"}, "POST client_id=SN-1&grant_type=client_credentials&scope=device : SN-1"},
		"blob":        {OAuth{SecretBlob: wire.BlobKey{Name: "ext-auth1"}, ClientID: "me"}, "POST grant_type=client_credentials me:s%25cret nobody"},
		"file":        {OAuth{SecretFile: file}, "POST grant_type=client_credentials SN-1:from+a+file nobody"},
	} {
		c.oauth.HTTPS, c.oauth.Blobs, c.oauth.URL = https, store, url
		token, err := c.oauth.Fetch(t.Context())
		if err != nil || token.Value != "tok-1" || token.Life != time.Hour || seen != c.want {
			t.Errorf("%s: %v, %v; the server saw %s\nwant %s", name, token, err, seen, c.want)
		}
	}
}

// enrolled gives a device its certificate.
func enrolled(t *testing.T, a *authority, store *safe) {
	t.Helper()
	e := NewEnrolment(EnrolOptions{Blobs: store, Authority: a, Gate: deafGate{}, Teller: newRig(t)})
	own, err := e.look(t.Context())
	if err == nil {
		err = e.sign(t.Context(), own)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestOAuthFaults has servers that answer with something else. What is said of it has no secret in it, and nothing of the answer but
// the code of an error.
func TestOAuthFaults(t *testing.T) {
	var status int
	var answer string
	server, https := served(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		if _, err := io.WriteString(w, answer); err != nil {
			t.Log(err)
		}
	})
	host := strings.TrimPrefix(server.URL, "https://")
	store := named(t)
	store.put(t, "ext-auth1", "secret")
	for _, c := range []struct {
		status       int
		answer, want string
	}{
		{401, `{"error":"invalid_client","error_description":"secret"}`, "the token server " + host + " answered 401 Unauthorized, invalid_client"},
		{400, `{"error":"Secret!"}`, "the token server " + host + " answered 400 Bad Request"},
		{503, `secret`, "the token server " + host + " answered 503 Service Unavailable"},
		{200, `<html>secret`, "what was answered is no token in JSON"},
		{200, `{"access_token":"secret"`, "what was answered is no token in JSON"},
		{200, `["secret"]`, "what was answered is no token in JSON"},
		{200, `{"access_token":7}`, "what was answered is no token in JSON"},
		{200, `{}`, "what was answered has no access_token"},
		{200, `{"access_token":"secret","token_type":"DPoP"}`, "what was answered is no bearer token"},
		{200, `{"access_token":"secret","expires_in":-5}`, "what was answered is a token that has expired already, its expires_in is -5"},
		{200, `{"access_token":"secret","expires_in":0}`, "what was answered is a token that has expired already, its expires_in is 0"},
		{200, `{"access_token":"secret","expires_in":"soon"}`, "what was answered has an expires_in that is no number"},
		{200, `{"access_token":"secret","expires_in":{}}`, "what was answered has an expires_in that is no number"},
		{200, `{"access_token":"` + strings.Repeat("secret", 20000) + `"}`, "the token server " + host + " answered with more than 65536 bytes"},
	} {
		status, answer = c.status, c.answer
		_, err := OAuth{HTTPS: https, Blobs: store, URL: func() string { return server.URL }, SecretBlob: wire.BlobKey{Name: "ext-auth1"}}.Fetch(t.Context())
		if err == nil || err.Error() != c.want {
			t.Errorf("%d %.60s: %v\nwant %s", c.status, c.answer, err, c.want)
		}
	}
	for want, o := range map[string]OAuth{
		"nothing says where tokens come from: neither the url of the configuration nor that of the policy":             {URL: func() string { return "" }},
		"the secret to ask for tokens with is empty":                                                                   {SecretBlob: wire.BlobKey{Name: "ext-auth2"}},
		"the file of the secret cannot be read: stat /nowhere/secret: no such file or directory":                       {SecretFile: "/nowhere/secret"},
		"the file of the secret cannot be read: /etc/passwd may be read by everybody (mode 0644); 0600 would be right": {SecretFile: "/etc/passwd"},
		"the URL of the token server is not one of https, or has a user in it":                                         {URL: func() string { return "http://" + host }},
		"the blob client-cert-der.0 has no certificate":                                                                {},
	} {
		o.HTTPS, o.Blobs = https, store
		if o.URL == nil {
			o.URL = func() string { return server.URL }
		}
		if strings.Contains(want, "cert-der") {
			enrolled(t, newAuthority(t), store)
			store.put(t, "client-cert-der", "secret")
		}
		if _, err := o.Fetch(t.Context()); err == nil || err.Error() != want {
			t.Errorf("%v\nwant %s", err, want)
		}
	}
	nameless := OAuth{HTTPS: https, Blobs: &safe{}, URL: func() string { return server.URL }}
	if _, err := nameless.Fetch(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "the device has no serial to ask for tokens by") {
		t.Error(err)
	}
}

// TestParseToken reads how long a token lives, however that is written.
func TestParseToken(t *testing.T) {
	for text, want := range map[string]time.Duration{
		`{"access_token":"t"}`:                                          0,
		`{"access_token":"t","expires_in":null}`:                        0,
		`{"access_token":"t","expires_in":60}`:                          time.Minute,
		`{"access_token":"t","expires_in":"60"}`:                        time.Minute,
		`{"access_token":"t","expires_in":1.5}`:                         1500 * time.Millisecond,
		`{"access_token":"t","expires_in":1e300,"token_type":"bearer"}`: longestLife,
	} {
		if token, err := parseToken([]byte(text)); err != nil || token.Life != want || token.Value != "t" {
			t.Errorf("%s: %v, %v; want %v", text, token, err, want)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add([]byte(`{"access_token":"t","expires_in":"60"}`))
	f.Fuzz(func(t *testing.T, answer []byte) {
		token, err := parseToken(answer)
		if err == nil && (token.Value == "" || token.Life < 0 || token.Life > longestLife) {
			t.Errorf("%+v", token)
		}
	})
}

// TestTokenHook has real programs give tokens.
func TestTokenHook(t *testing.T) {
	for text, c := range map[string]struct {
		want  AccessToken
		fault string
	}{
		`echo tok-1 $1`: {AccessToken{Value: "tok-1 auth1"}, ""}, // which is refused behind
		`printf '{"access_token":"tok-1","expires_in":60}'`: {AccessToken{"tok-1", time.Minute}, ""},
		`echo tok-1; echo no network >&2; exit 4`:           {AccessToken{}, "failed, exit status 4: no network"},
		`echo '{"access_token":"secret","expires_in":-1}'`:  {AccessToken{}, "what was answered is a token that has expired already, its expires_in is -1"},
		`head -c 70000 /dev/zero`:                           {AccessToken{}, "it wrote more than 65536 bytes"},
	} {
		token, err := TokenHook{Path: program(t, "#!/bin/sh\n"+text+"\n"), Args: []string{"auth1"}}.Fetch(t.Context())
		if token != c.want || c.fault == "" && err != nil || c.fault != "" && (err == nil || !strings.HasSuffix(err.Error(), c.fault)) {
			t.Errorf("%s: %v, %v; want %v, %s", text, token, err, c.want, c.fault)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := TokenHook{Path: program(t, "#!/bin/sh\nexec sleep 600\n")}.Fetch(ctx)
	if err == nil || !strings.HasSuffix(err.Error(), " was killed, it took too long") {
		t.Errorf("too long: %v", err)
	}
}
