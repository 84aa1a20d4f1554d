package demote

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Begin has every file from here on be made and opened as the account's, by every thread, and takes on its groups. The
// process is root in everything else until [Drop]; what it starts is root altogether.
func Begin(a Account) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("the process runs as user %d and cannot become the user %s; started as root it can", os.Geteuid(), a.Name)
	}
	if err := everywhere(sysSetfsgid, uintptr(a.GID), 0); err != nil {
		return fmt.Errorf("make files as the user %s: %w", a.Name, err)
	}
	if err := syscall.Setgroups(a.Groups); err != nil {
		return fmt.Errorf("take on the groups of the user %s: %w", a.Name, err)
	}
	if err := everywhere(sysSetfsuid, uintptr(a.UID), 0); err != nil {
		return fmt.Errorf("make files as the user %s: %w", a.Name, err)
	}
	return eachThread(func(t thread) error {
		want := []int{0, 0, 0, a.UID}
		return t.holds("Uid", want)
	})
}

// AsRoot runs f, which starts no goroutine, with root's way to files, between [Begin] and [Drop].
func AsRoot(f func() error) error {
	runtime.LockOSThread()
	uid, _ := unix.SetfsuidRetUid(0)
	gid, _ := unix.SetfsgidRetGid(0)
	defer func() {
		_ = unix.Setfsgid(gid)
		_ = unix.Setfsuid(uid)
		if now, _ := unix.SetfsuidRetUid(-1); now == uid {
			runtime.UnlockOSThread() // else the thread ends with its goroutine
		}
	}()
	return f()
}

// everywhere makes a system call on every thread of the process.
func everywhere(call, first, second uintptr) error {
	_, _, errno := syscall.AllThreadsSyscall(call, first, second, 0)
	if errno == syscall.ENOTSUP {
		return errors.New("this program is built with cgo and cannot change all of its threads; one built with CGO_ENABLED=0 can")
	}
	if errno != 0 {
		return errno
	}
	return nil
}
