//go:build linux && (386 || arm)

package demote

import "golang.org/x/sys/unix"

// The calls that take numbers of users with more than 16 bits.
const (
	sysSetfsuid = unix.SYS_SETFSUID32
	sysSetfsgid = unix.SYS_SETFSGID32
)
