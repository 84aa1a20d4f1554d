package daemon

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"muster/system/boot"
	"muster/system/boot/policy"
	"muster/wire"
)

// Token is how the device comes to a token of limited life.
type Token struct {
	Mode     string   `toml:"mode"`      // off, oauth2 or script
	URL      string   `toml:"url"`       // "" means what the policy says
	CAFile   string   `toml:"ca_file"`   // "" means the authorities of the system
	ClientID string   `toml:"client_id"` // "" means the serial of the device
	Scope    string   `toml:"scope"`
	Secret   string   `toml:"secret"`    // blob:NAME.INDEX, file:PATH or credential:NAME; "" means the certificate of the device
	Program  string   `toml:"program"`   //
	Into     string   `toml:"into"`      // the secret blob, NAME.INDEX
	Timeout  Duration `toml:"timeout"`   // for one token
	Patience Duration `toml:"patience"`  // after which the device goes on without one; 0 means never
	FallBack bool     `toml:"fall_back"` // to the state before when it expires
}

const modeOAuth2 = "oauth2"

// defaultToken is what holds where nothing is said.
func defaultToken(into string) Token {
	return Token{Mode: modeOff, Into: into, Timeout: Duration(30 * time.Second), Patience: Duration(5 * time.Minute)}
}

// tokenSettings explain the [Token] of a state.
func tokenSettings(key string, state, before wire.State) []Setting {
	settings := []Setting{
		{
			Key: "mode",
			Meaning: fmt.Sprintf(`Where the token comes from for which %s then waits, and which is renewed for as long as the device runs: "off", nowhere; `+
				`"oauth2", a server, by client credentials; "script", a program.`, state),
		},
		{
			Key: "url", Default: key + "_url of the policy",
			Meaning: `For "oauth2": the token endpoint, such as "https://login.example.com/oauth2/token".`,
		},
		{
			Key: "ca_file", Default: "the authorities that the system trusts",
			Meaning: "The authorities that the server may be signed by: an absolute path of a file in PEM.",
		},
		{
			Key: "client_id", Default: "the serial of the device",
			Meaning: "By what name the server knows the device.",
		},
		{
			Key: "scope", Default: "what the server gives by itself",
			Meaning: `What the token is to be good for, such as "telemetry updates".`,
		},
		{
			Key: "secret", Default: "none: the certificate of the device is shown",
			Meaning: `Where the secret is that the server knows the device by: "blob:ext-auth2.0", a secret blob; "file:/etc/muster/secret"; or ` +
				`"credential:NAME", a systemd credential of the unit.`,
		},
		{
			Key: "program", Default: "none",
			Meaning: `For "script": the absolute path of a program that writes a token. Nobody but root and the daemon's own user may be able to ` +
				"change it.",
		},
		{
			Key:     "into",
			Meaning: "The secret blob that the token is kept in.",
		},
		{
			Key:     "timeout",
			Meaning: "How long one token may take: a duration.",
		},
		{
			Key:     "patience",
			Meaning: `After how long the device goes on without a token: a duration; "0s" means never.`,
		},
		{
			Key: "fall_back",
			Meaning: fmt.Sprintf("Whether the device falls back to %s when the token expires: true or false. It is told on sys.network.%s either way.",
				before, key),
		},
	}
	for i := range settings {
		settings[i].Key = key + "." + settings[i].Key
	}
	return settings
}

// checkTokens holds the settings against what they may be.
func (c Config) checkTokens() error {
	if err := c.checkToken("auth1", c.Auth1); err != nil {
		return err
	}
	if err := c.checkToken("auth2", c.Auth2); err != nil {
		return err
	}
	first, _ := secretBlob(c.Auth1.Into)
	if second, _ := secretBlob(c.Auth2.Into); c.Auth1.Mode != modeOff && c.Auth2.Mode != modeOff && first == second {
		return fmt.Errorf("auth1.into and auth2.into are both %q; two blobs would be right", c.Auth1.Into)
	}
	return nil
}

// checkToken does so for one of them.
func (c Config) checkToken(key string, k Token) error {
	switch {
	case k.Mode != modeOff && k.Mode != modeOAuth2 && k.Mode != modeScript:
		return fmt.Errorf("%s.mode is %q; off, oauth2 or script would be right", key, k.Mode)
	case k.Mode == modeScript && !filepath.IsAbs(k.Program):
		return fmt.Errorf("%s.program is %q; an absolute path would be right", key, k.Program)
	case k.CAFile != "" && !filepath.IsAbs(k.CAFile):
		return fmt.Errorf("%s.ca_file is %q; an absolute path would be right", key, k.CAFile)
	case time.Duration(k.Timeout) < time.Second || time.Duration(k.Timeout) > 10*time.Minute:
		return fmt.Errorf("%s.timeout is %v; 1s to 10m0s would be right", key, time.Duration(k.Timeout))
	}
	into, err := secretBlob(k.Into)
	if err != nil {
		return fmt.Errorf("%s.into is %q; %w", key, k.Into, err)
	}
	secret, _, err := k.secret()
	if err != nil {
		return fmt.Errorf("%s.secret is %q; %w", key, k.Secret, err)
	}
	if secret == into {
		return fmt.Errorf("%s.secret and %s.into are the same blob, %q; two would be right", key, key, k.Into)
	}
	if k.Mode != modeOff && c.Enrol.Mode == modeHTTPS && into == boot.TokenBlob {
		return fmt.Errorf("%s.into is %q, which is shown to the server of enrol.mode as the registration token; another blob would be right", key, k.Into)
	}
	return c.checkServer(key+".url", k.Mode == modeOAuth2, k.URL)
}

// secretBlob reads the name of a secret blob, NAME or NAME.INDEX. The error says what would be right.
func secretBlob(text string) (wire.BlobKey, error) {
	name, index, dotted := strings.Cut(text, ".")
	key := wire.BlobKey{Name: name}
	known, _ := wire.KnownBlob(name)
	var err error
	if dotted {
		key.Index, err = strconv.Atoi(index)
	}
	if err != nil || !known.Secret || key.Index < 0 || key.Index >= known.Indexes || name == "client-key-der" {
		return key, fmt.Errorf("a secret blob that is no key, such as auth.1 or ext-auth1.0, would be right")
	}
	return key, nil
}

// secret says where the secret is: in a blob, or in a file. The error says what would be right.
func (k Token) secret() (blob wire.BlobKey, file string, err error) {
	kind, where, _ := strings.Cut(k.Secret, ":")
	switch {
	case k.Secret == "":
		return blob, "", nil
	case kind == "blob":
		blob, err = secretBlob(where)
		return blob, "", err
	case kind == "file" && filepath.IsAbs(where):
		return blob, where, nil
	case kind == "credential" && where != "" && where == filepath.Base(where):
		return blob, boot.CredentialFile(where), nil
	}
	return blob, "", fmt.Errorf("blob:NAME.INDEX, file:/PATH or credential:NAME would be right")
}

// addTokens has tokens got and renewed.
func (d *Daemon) addTokens() {
	d.addToken(wire.Auth1, d.config.Auth1, func(p *policy.Document) string { return p.Auth1URL })
	d.addToken(wire.Auth2, d.config.Auth2, func(p *policy.Document) string { return p.Auth2URL })
}

func (d *Daemon) addToken(state wire.State, k Token, of func(*policy.Document) string) {
	if k.Mode == modeOff {
		return
	}
	into, _ := secretBlob(k.Into) // Check has seen to it
	opts := boot.TokenOptions{
		State: state, Into: into, Blobs: d.blobs, Gate: d.machine, Teller: d.bus, Clock: d.platform, Backoff: d.policy.Backoff,
		Timeout: time.Duration(k.Timeout), Patience: time.Duration(k.Patience), Log: d.opts.Log,
	}
	if k.Mode == modeScript {
		opts.Source = boot.TokenHook{Path: k.Program, Args: []string{strings.ToLower(state.String())}, Env: d.scriptEnv()}
	} else {
		blob, file, _ := k.secret() // Check has seen to it
		opts.Source = boot.OAuth{
			HTTPS: boot.HTTPS{CAFile: k.CAFile}, Blobs: d.blobs, URL: d.server(k.URL, of), ClientID: k.ClientID, Scope: k.Scope,
			SecretBlob: blob, SecretFile: file,
		}
	}
	if k.FallBack {
		opts.FallBack = d.machine
	}
	d.parts = append(d.parts, boot.NewToken(opts))
}
