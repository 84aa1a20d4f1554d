package access

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nkeys"

	"muster/wire"
)

// Role is what somebody may do, as the configuration has it.
type Role struct {
	Name string   `toml:"name"`
	Who  []string `toml:"who"` // uid:1001, user:modem, group:dialout, nkey:U…, anyone; exe:/usr/bin/x beside another
	May  []string `toml:"may"` // rights, "*" for any parameter; observer and participant stand for what those may
}

// The built-in roles.
const (
	Observer    = "observer"
	Participant = "participant"
)

// anyone as a role's who is every user of the device.
const anyone = "anyone"

// builtin lists what the built-in roles may. Whoever has no other role has none of them: they are given by name.
var builtin = map[string][]string{
	Observer:    {"state:read", "blob:list", "blob:read:*", "smd:read"},
	Participant: {"state:read", "blob:list", "blob:read:*", "smd:read", "notifier:*", "loop:book"},
	wire.RightAdmin: {
		wire.RightAdmin,
	},
}

// role is a role, compiled.
type role struct {
	name   string
	who    []matcher
	exe    []string // and one of these programs; none means any
	grants []string
}

// matcher fits a peer. conditional ones look at more than the user or the key, so that two connections of one user can
// differ.
type matcher struct {
	conditional bool
	fits        func(Peer) bool
}

// compile checks a role and looks its users and groups up.
func compile(r Role) (role, error) {
	c := role{name: r.Name}
	if err := wire.CheckName("role", r.Name); err != nil {
		return c, err
	}
	for _, who := range r.Who {
		if path, ok := strings.CutPrefix(who, "exe:"); ok {
			if !filepath.IsAbs(path) {
				return c, fmt.Errorf("role %s: who has %q; an absolute path such as exe:/usr/bin/x would be right", r.Name, who)
			}
			c.exe = append(c.exe, path)
			continue
		}
		m, err := parseWho(who)
		if err != nil {
			return c, fmt.Errorf("role %s: %w", r.Name, err)
		}
		c.who = append(c.who, m)
	}
	if len(c.who) == 0 || len(c.exe) > 0 && slices.Contains(r.Who, anyone) {
		return c, fmt.Errorf("role %s: who names nobody; a program alone is no proof of who runs it; uid:1001 or user:modem would be right", r.Name)
	}
	for _, may := range r.May {
		if rights, ok := builtin[may]; ok {
			c.grants = append(c.grants, rights...)
			continue
		}
		if err := wire.CheckRight(may); err != nil {
			return c, fmt.Errorf("role %s: may: %w", r.Name, err)
		}
		c.grants = append(c.grants, may)
	}
	return c, nil
}

// parseWho reads one entry of who.
func parseWho(who string) (m matcher, err error) {
	if who == anyone {
		m.fits = func(p Peer) bool { return p.local() }
		return m, nil
	}
	kind, value, _ := strings.Cut(who, ":")
	switch kind {
	case "uid":
		uid, err := strconv.ParseUint(value, 10, 31)
		if err != nil {
			return m, fmt.Errorf("who has %q; uid: and a number would be right", who)
		}
		m.fits = func(p Peer) bool { return p.local() && p.UID == int(uid) }
	case "user":
		uid, err := userID(value)
		if err != nil {
			return m, fmt.Errorf("who has %q: %w", who, err)
		}
		m.fits = func(p Peer) bool { return p.local() && p.UID == uid }
	case "group":
		gid, err := groupID(value)
		if err != nil {
			return m, fmt.Errorf("who has %q: %w", who, err)
		}
		m.conditional = true
		m.fits = func(p Peer) bool { return p.local() && slices.Contains(p.GIDs, gid) }
	case "nkey":
		if !nkeys.IsValidPublicUserKey(value) {
			return m, fmt.Errorf("who has %q; nkey: and a public user key, which begins with U, would be right", who)
		}
		m.fits = func(p Peer) bool { return p.Via == wire.ViaNkey && p.Nkey == value }
	default:
		return m, fmt.Errorf("who has %q; uid:, user:, group:, nkey:, exe: or anyone would be right", who)
	}
	return m, nil
}

// match reports whether a peer has the role, and whether that is so by more than who its user is.
func (r role) match(p Peer) (has, conditional bool) {
	if len(r.exe) > 0 && !slices.Contains(r.exe, p.Exe) {
		return false, false
	}
	conditional = true
	for _, m := range r.who {
		if m.fits(p) {
			has = true
			conditional = conditional && m.conditional
		}
	}
	return has, has && (conditional || len(r.exe) > 0)
}
