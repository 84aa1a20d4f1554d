//go:build linux && !386 && !arm

package demote

import "golang.org/x/sys/unix"

const (
	sysSetfsuid = unix.SYS_SETFSUID
	sysSetfsgid = unix.SYS_SETFSGID
)
