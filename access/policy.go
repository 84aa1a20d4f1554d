package access

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"muster/wire"
)

// Policy makes identities of peers. It is made by [NewPolicy] and does not change.
type Policy struct {
	own   int // the daemon's user
	roles []role
}

// NewPolicy compiles the roles. own is the daemon's own user, an administrator like root. An error names the role and
// what would be right.
func NewPolicy(roles []Role, own int) (*Policy, error) {
	p := &Policy{own: own}
	for _, r := range roles {
		if slices.ContainsFunc(p.roles, func(other role) bool { return other.name == r.Name }) || builtin[r.Name] != nil {
			return nil, fmt.Errorf("role %s: there is one of that name already", r.Name)
		}
		c, err := compile(r)
		if err != nil {
			return nil, err
		}
		p.roles = append(p.roles, c)
	}
	return p, nil
}

// NeedsExe reports whether the program behind a connection can make a difference.
func (p *Policy) NeedsExe() bool {
	return slices.ContainsFunc(p.roles, func(r role) bool { return len(r.exe) > 0 })
}

// needsGroups reports whether groups can make a difference.
func (p *Policy) needsGroups() bool {
	return slices.ContainsFunc(p.roles, func(r role) bool {
		return slices.ContainsFunc(r.who, func(m matcher) bool { return m.conditional })
	})
}

// Identify gives the identity of a peer; false for one that has no role.
//
// Connections of one user or key are one identity, named "uid:1001" or "nkey:U…". Where a group or a program gives a
// connection a role that others of its user have not, that is an identity of its own: "uid:1001+modem". An administrator
// has everything already, and is one identity however it comes.
func (p *Policy) Identify(peer Peer) (Identity, bool) {
	i, peer := p.begin(peer)
	if peer.Via == wire.ViaTicket {
		p.addNamed(&i, peer.Role)
	}
	for _, r := range p.roles {
		has, conditional := r.match(peer)
		if !has {
			continue
		}
		admin := i.Admin()
		i.add(r.name, r.grants)
		if conditional && !admin {
			i.Name += "+" + r.name
		}
	}
	i.Account = accountOf(i.Name)
	return i, len(i.roles) > 0
}

// Named gives the identity of that name as the roles have it now, for whom nobody need be connected; false where it has
// none. A program that is a part of the name is taken for granted, a group is looked up.
func (p *Policy) Named(name string) (Identity, bool) {
	base, narrowed, _ := strings.Cut(name, "+")
	peer, err := findPeer(base)
	if err != nil {
		return Identity{}, false
	}
	i, peer := p.begin(peer)
	for _, r := range p.roles {
		named := slices.Contains(strings.Split(narrowed, "+"), r.name)
		peer.Exe = ""
		if named && len(r.exe) > 0 {
			peer.Exe = r.exe[0]
		}
		if has, conditional := r.match(peer); has && (named || !conditional) {
			i.add(r.name, r.grants)
		}
	}
	i.Name, i.Account = name, accountOf(name)
	return i, len(i.roles) > 0
}

// begin gives the identity of a peer before it has any of the configured roles, and the peer with its groups, if they
// can make a difference.
func (p *Policy) begin(peer Peer) (Identity, Peer) {
	i := Identity{Name: peer.Subject()}
	if !peer.local() {
		return i, peer
	}
	if p.Owns(peer) {
		i.add(wire.RightAdmin, builtin[wire.RightAdmin])
	}
	if peer.GIDs == nil && p.needsGroups() {
		peer.GIDs = groupsOf(peer.UID)
	}
	return i, peer
}

// accountOf names the account of an identity: "UID-1001+modem". Identities that differ have accounts that differ.
func accountOf(identity string) string {
	kind, rest, several := strings.Cut(identity, ":")
	if !several { // of a ticket
		return strings.ToUpper(identity)
	}
	return strings.ToUpper(kind) + "-" + rest
}

// addNamed gives an identity a role by its name, if there is one.
func (p *Policy) addNamed(i *Identity, name string) {
	if rights, ok := builtin[name]; ok {
		i.add(name, rights)
	}
	for _, r := range p.roles {
		if r.name == name {
			i.add(name, r.grants)
		}
	}
}

// Owns reports whether a peer is root or the daemon's own user.
func (p *Policy) Owns(peer Peer) bool { return peer.local() && (peer.UID == 0 || peer.UID == p.own) }

// Has reports whether there is a role of that name.
func (p *Policy) Has(name string) bool {
	return builtin[name] != nil || slices.ContainsFunc(p.roles, func(r role) bool { return r.name == name })
}

// Find gives the identity that somebody named as in a role's who would have: "uid:1001", "user:modem", "nkey:U…".
// Groups are those of the user database; no program is known.
func (p *Policy) Find(who string) (Identity, error) {
	peer, err := findPeer(who)
	if err != nil {
		return Identity{}, err
	}
	i, _ := p.Identify(peer)
	return i, nil
}

// findPeer gives what can be known of somebody who is not connected.
func findPeer(who string) (peer Peer, err error) {
	kind, value, _ := strings.Cut(who, ":")
	switch kind {
	case "uid":
		uid, err := strconv.ParseUint(value, 10, 32)
		if err != nil {
			return peer, wire.Malformed("who is %.64q; uid: and a number would be right", who)
		}
		return Peer{Via: wire.ViaTCP, UID: int(uid)}, nil
	case "user":
		uid, err := userID(value)
		if err != nil {
			return peer, wire.NotFound("%v", err)
		}
		return Peer{Via: wire.ViaTCP, UID: uid}, nil
	case "nkey":
		return Peer{Via: wire.ViaNkey, Nkey: value}, nil
	}
	return peer, wire.Malformed("who is %.64q; uid:1001, user:modem or nkey:U… would be right", who)
}
