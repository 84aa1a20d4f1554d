package bustest

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"muster/access"
)

// Key is a key that a test makes for an identity of its own, which needs no user of the device.
type Key struct {
	Public string
	t      testing.TB
	pair   nkeys.KeyPair
}

// NewKey makes one.
func NewKey(t testing.TB) Key {
	t.Helper()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return Key{Public: public, t: t, pair: pair}
}

// Who names the key as a role does.
func (k Key) Who() string { return "nkey:" + k.Public }

// Role gives a role that the key alone has.
func (k Key) Role(name string, may ...string) access.Role {
	return access.Role{Name: name, Who: []string{k.Who()}, May: may}
}

// Option has a client sign with the key.
func (k Key) Option() nats.Option { return nats.Nkey(k.Public, k.pair.Sign) }

// Sign gives what a client puts into its CONNECT as sig, for the nonce of the server's first line.
func (k Key) Sign(info string) string {
	k.t.Helper()
	var said struct {
		Nonce string `json:"nonce"`
	}
	if err := json.Unmarshal([]byte(strings.TrimPrefix(info, "INFO ")), &said); err != nil {
		k.t.Fatalf("the server's first line %q: %v", info, err)
	}
	signed, err := k.pair.Sign([]byte(said.Nonce))
	if err != nil {
		k.t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(signed)
}
