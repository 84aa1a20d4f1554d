package access

import (
	"fmt"
	"os/user"
	"strconv"
)

// Users is the user database of the device. The zero value is the system's.
type Users struct{}

// UID gives the number of a user.
func (Users) UID(name string) (int, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return 0, fmt.Errorf("there is no user %q on this device", name)
	}
	return strconv.Atoi(u.Uid)
}

// GID gives the number of a group.
func (Users) GID(name string) (int, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, fmt.Errorf("there is no group %q on this device", name)
	}
	return strconv.Atoi(g.Gid)
}

// Groups gives the groups of a user; none for one that the database does not know.
func (Users) Groups(uid int) []int {
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return nil
	}
	texts, err := u.GroupIds()
	if err != nil {
		return nil
	}
	var gids []int
	for _, text := range texts {
		if gid, err := strconv.Atoi(text); err == nil {
			gids = append(gids, gid)
		}
	}
	return gids
}
