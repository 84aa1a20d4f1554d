package access

import (
	"fmt"
	"slices"
	"strings"

	"muster/wire"
)

// Identity is who a connection speaks for. Each has an account of its own on the bus, so that no other can see its
// inboxes or answer in its name.
type Identity struct {
	Name    string // "uid:1001"
	Account string // on the bus: one token of a subject
	roles   []grant
}

// grant is a role that the identity has, and what it may by it.
type grant struct {
	role   string
	rights []string
}

func (i *Identity) add(role string, rights []string) {
	i.roles = append(i.roles, grant{role, rights})
}

// Roles names the roles that the identity has.
func (i Identity) Roles() []string {
	names := []string{}
	for _, g := range i.roles {
		names = append(names, g.role)
	}
	return names
}

// Admin reports whether the identity may do everything.
func (i Identity) Admin() bool { return i.May(wire.RightAdmin) }

// May reports whether the identity has the right, whose parameters are filled in: "blob:read:auth".
func (i Identity) May(right string) bool {
	_, _, may := i.rule(right)
	return may
}

// rule gives what grants the right, and in which role.
func (i Identity) rule(right string) (role, granted string, may bool) {
	for _, g := range i.roles {
		for _, granted := range g.rights {
			if wire.Grants(granted, right) {
				return g.role, granted, true
			}
		}
	}
	return "", "", false
}

// Explain says whether the identity has the right, and why.
func (i Identity) Explain(right string) wire.AccessRuling {
	ruling := wire.AccessRuling{Identity: i.Name, Roles: i.Roles()}
	role, granted, may := i.rule(right)
	ruling.Allowed = may
	switch {
	case may:
		ruling.Rule = fmt.Sprintf("role %s grants %s", role, granted)
	case len(i.roles) == 0:
		ruling.Rule = "no role names " + i.Name + ", so its connections are refused"
	default:
		ruling.Rule = fmt.Sprintf("no role of %s grants %s; it has %s", i.Name, right, strings.Join(i.Roles(), ", "))
	}
	return ruling
}

// Check gives the 403 of an identity that lacks the right; no right is needed for "".
func (i Identity) Check(right string) error {
	if right == "" || i.May(right) {
		return nil
	}
	return wire.Errorf(wire.CodeForbidden, "%s lacks the right %s", i.Name, right).With("right", right)
}

// rights lists everything that was granted.
func (i Identity) rights() []string {
	var all []string
	for _, g := range i.roles {
		all = append(all, g.rights...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// parameters lists how the parameter of a right, such as "notifier:<name>", was granted: names, or "*" for any.
func (i Identity) parameters(right string) []string {
	before, _, _ := strings.Cut(right, "<")
	words := strings.Split(before, ":")
	last := len(words) - 1
	var found []string
	for _, granted := range i.rights() {
		got := strings.Split(granted, ":")
		switch {
		case granted == wire.RightAdmin:
			return []string{"*"}
		case len(got) != len(words) || !slices.Equal(got[:last], words[:last]):
		case got[last] == "*":
			return []string{"*"}
		case strings.HasPrefix(got[last], words[last]):
			found = append(found, got[last][len(words[last]):])
		}
	}
	return found
}

// Includes reports whether the identity may do everything that another may.
func (i Identity) Includes(other Identity) bool {
	for _, right := range other.rights() {
		if !i.May(right) {
			return false
		}
	}
	return true
}
