package main

import (
	"fmt"
	"os"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"muster/access"
	"muster/wire"
)

// participant is somebody with the built-in role of that name and nothing more, whoever runs the bench: a key tells who
// it is.
type participant struct {
	key    nkeys.KeyPair
	public string
	seed   string
	role   access.Role
}

func newParticipant() (p participant, err error) {
	if p.key, err = nkeys.CreateUser(); err != nil {
		return p, err
	}
	if p.public, err = p.key.PublicKey(); err != nil {
		return p, err
	}
	seed, err := p.key.Seed()
	p.seed = string(seed)
	p.role = access.Role{Name: "bench", Who: []string{"nkey:" + p.public}, May: []string{access.Participant}}
	return p, err
}

// permissions are those that the daemon gives the participant.
func (p participant) permissions() (*server.Permissions, error) {
	policy, err := access.NewPolicy([]access.Role{p.role}, os.Getuid())
	if err != nil {
		return nil, err
	}
	identity, known := policy.Identify(access.Peer{Via: wire.ViaNkey, Nkey: p.public})
	if !known {
		return nil, fmt.Errorf("nkey %s has no role beside its own %v", p.public, p.role)
	}
	return identity.Permissions(), nil
}
