package access

import (
	"fmt"
	"os/user"
	"strconv"
)

// userID gives the number of a user of this device.
func userID(name string) (int, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return 0, fmt.Errorf("there is no user %q on this device", name)
	}
	return strconv.Atoi(u.Uid)
}

// groupID gives the number of a group of this device.
func groupID(name string) (int, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, fmt.Errorf("there is no group %q on this device", name)
	}
	return strconv.Atoi(g.Gid)
}

// groupsOf gives the groups of a user; none for one that the device does not know.
func groupsOf(uid int) []int {
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
