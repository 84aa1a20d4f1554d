package boot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"muster/wire"
)

// OAuth gets tokens from an OAuth 2 server, by the grant of client credentials (RFC 6749, 4.4). The device is known by a secret
// or, where there is none, by its certificate (RFC 8705).
type OAuth struct {
	HTTPS    HTTPS
	Blobs    Blobs
	URL      func() string // of the token endpoint; "" when it is not known
	ClientID string        // "": the serial of the device
	Scope    string        // "": what the server gives by itself

	// The secret is in one of these; in neither: the certificate is shown.
	SecretBlob wire.BlobKey
	SecretFile string
}

// Fetch implements [TokenSource].
func (o OAuth) Fetch(ctx context.Context) (AccessToken, error) {
	to := o.URL()
	if to == "" {
		return AccessToken{}, errors.New("nothing says where tokens come from: neither the url of the configuration nor that of the policy")
	}
	id := o.ClientID
	if id == "" {
		serial, err := readBlob(ctx, o.Blobs, serialBlob)
		if id = strings.TrimSpace(string(serial)); err != nil || id == "" {
			return AccessToken{}, errors.Join(err, errors.New("the device has no serial to ask for tokens by, the blob device-serial.0 is empty,"))
		}
	}
	form := url.Values{"grant_type": {"client_credentials"}}
	if o.Scope != "" {
		form.Set("scope", o.Scope)
	}
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"application/json"}}
	https := o.HTTPS
	if o.SecretBlob.Name == "" && o.SecretFile == "" {
		https.Own = o.Blobs
		form.Set("client_id", id)
	} else {
		secret, err := secretOf(ctx, o.Blobs, o.SecretBlob, o.SecretFile)
		if err == nil && secret == "" {
			err = errors.New("the secret to ask for tokens with is empty")
		}
		if err != nil {
			return AccessToken{}, err
		}
		request := http.Request{Header: header}
		request.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
	}
	answer, err := https.post(ctx, "token", to, header, []byte(form.Encode()))
	if refused, ok := errors.AsType[*refusal](err); ok {
		refused.said += errorCode(answer)
	}
	if err != nil {
		return AccessToken{}, err
	}
	return parseToken(answer)
}

// plainCode is what the code of an error looks like that may be shown.
var plainCode = regexp.MustCompile(`^[a-z_]{1,40}$`)

// errorCode is the code of a server's error (RFC 6749, 5.2), to be added to a reason; nothing else of the answer is shown.
func errorCode(answer []byte) string {
	var told struct {
		Code string `json:"error"`
	}
	if err := json.Unmarshal(answer, &told); err != nil || !plainCode.MatchString(told.Code) {
		return ""
	}
	return ", " + told.Code
}

// parseToken reads an answer with a token (RFC 6749, 5.1). The error says nothing of what was read.
func parseToken(answer []byte) (AccessToken, error) {
	var told struct {
		Token   string          `json:"access_token"`
		Type    string          `json:"token_type"`
		Expires json.RawMessage `json:"expires_in"`
	}
	if err := json.Unmarshal(answer, &told); err != nil {
		return AccessToken{}, errors.New("what was answered is no token in JSON")
	}
	if told.Token == "" {
		return AccessToken{}, errors.New("what was answered has no access_token")
	}
	if told.Type != "" && !strings.EqualFold(told.Type, "bearer") {
		return AccessToken{}, errors.New("what was answered is no bearer token")
	}
	token := AccessToken{Value: told.Token}
	if text := strings.Trim(string(bytes.TrimSpace(told.Expires)), `"`); text != "" && text != "null" {
		seconds, err := strconv.ParseFloat(text, 64) // some servers write it as a text
		switch {
		case err != nil || math.IsNaN(seconds):
			return AccessToken{}, errors.New("what was answered has an expires_in that is no number")
		case seconds < 1:
			return AccessToken{}, fmt.Errorf("what was answered is a token that has expired already, its expires_in is %.0f", seconds)
		}
		token.Life = time.Duration(min(seconds, longestLife.Seconds()) * float64(time.Second))
	}
	return token, nil
}

// TokenHook gets tokens from a program, which writes one to standard output: as the JSON of OAuth, {"access_token": …,
// "expires_in": …}, or as plain text. What it writes to standard error is shown when it fails.
type TokenHook struct {
	Path   string
	Args   []string
	Runner Runner   // nil: [Processes]
	Env    []string // what it is given besides: NAME=value
}

// Fetch implements [TokenSource].
func (h TokenHook) Fetch(ctx context.Context) (AccessToken, error) {
	exit, err := runHook(ctx, h.Runner, Program{Path: h.Path, Args: h.Args, Env: environment(h.Env...), Result: maxAnswer})
	if err != nil {
		return AccessToken{}, fmt.Errorf("%s %w", h.Path, err)
	}
	text := strings.TrimSpace(exit.Result)
	if strings.HasPrefix(text, "{") {
		return parseToken([]byte(text))
	}
	return AccessToken{Value: text}, nil
}
