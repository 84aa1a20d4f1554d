package demote

import (
	"fmt"
	"os/user"
	"slices"
	"strconv"
)

// Account is whom the process becomes.
type Account struct {
	Name     string
	UID, GID int
	Groups   []int // all of them, GID among them, in their order
}

// Find gives the account of a user of this device, with the named group instead of the user's own, if one is named. Root
// is none: nothing would be given up.
func Find(name, group string) (Account, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return Account{}, fmt.Errorf("there is no user %q on this device", name)
	}
	a := Account{Name: name}
	if a.UID, err = strconv.Atoi(u.Uid); err != nil {
		return Account{}, err
	}
	if a.UID == 0 {
		return Account{}, fmt.Errorf("the user %q is root; one that may do less would be right", name)
	}
	if group != "" {
		g, err := user.LookupGroup(group)
		if err != nil {
			return Account{}, fmt.Errorf("there is no group %q on this device", group)
		}
		u.Gid = g.Gid
	}
	if a.GID, err = strconv.Atoi(u.Gid); err != nil {
		return Account{}, err
	}
	texts, err := u.GroupIds()
	if err != nil {
		return Account{}, fmt.Errorf("groups of the user %q: %w", name, err)
	}
	for _, text := range append(texts, u.Gid) {
		gid, err := strconv.Atoi(text)
		if err != nil {
			return Account{}, err
		}
		if gid == 0 {
			return Account{}, fmt.Errorf("the user %q would be in the group of root; one that is not would be right", name)
		}
		a.Groups = append(a.Groups, gid)
	}
	slices.Sort(a.Groups)
	a.Groups = slices.Compact(a.Groups)
	return a, nil
}
