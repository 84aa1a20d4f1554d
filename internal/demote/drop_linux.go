package demote

import (
	"errors"
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Drop makes the process the account's for good, with the capabilities of keep that it has and no others, in any set; no
// program that it starts gets more, by set-user-id or otherwise. What counts is what every thread is afterwards, not
// what the calls returned: an error says what is not as it should be, and Drop may be called again. Else it gives the capabilities that
// were kept.
func Drop(a Account, keep Set) (kept Set, err error) {
	has, err := Held()
	if err != nil {
		return 0, err
	}
	keep &= has
	done := drop(a, keep)
	if err := check(a, keep); err != nil {
		return 0, errors.Join(done, err)
	}
	return keep, nil
}

// drop makes the calls. Those that need root's capabilities come first.
func drop(a Account, keep Set) error {
	for c := range 64 {
		is, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(c), 0, 0, 0)
		if err != nil {
			break // beyond the last
		}
		if is == 0 || keep&(1<<c) != 0 {
			continue
		}
		if err := everywhere(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, uintptr(c)); err != nil {
			return fmt.Errorf("give up capability %d for programs: %w", c, err)
		}
	}
	if err := everywhere(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL); err != nil {
		return fmt.Errorf("give up ambient capabilities: %w", err)
	}
	if err := everywhere(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1); err != nil {
		return fmt.Errorf("give up new privileges: %w", err)
	}
	if err := everywhere(unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 1); err != nil {
		return fmt.Errorf("keep capabilities: %w", err)
	}
	if err := syscall.Setgroups(a.Groups); err != nil {
		return fmt.Errorf("take on the groups of the user %s: %w", a.Name, err)
	}
	if err := syscall.Setresgid(a.GID, a.GID, a.GID); err != nil {
		return fmt.Errorf("take on the group %d: %w", a.GID, err)
	}
	if err := syscall.Setresuid(a.UID, a.UID, a.UID); err != nil {
		return fmt.Errorf("become the user %s: %w", a.Name, err)
	}
	if err := capset(keep); err != nil {
		return fmt.Errorf("give up capabilities: %w", err)
	}
	if err := everywhere(unix.SYS_PRCTL, unix.PR_SET_KEEPCAPS, 0); err != nil {
		return fmt.Errorf("keep capabilities no longer: %w", err)
	}
	return nil
}

// capset makes the set the effective and the permitted one of every thread, and the inheritable one empty.
func capset(keep Set) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{
		{Effective: uint32(keep), Permitted: uint32(keep)}, {Effective: uint32(keep >> 32), Permitted: uint32(keep >> 32)},
	}
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// Held gives the capabilities that the process may use.
func Held() (Set, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return 0, fmt.Errorf("read the capabilities: %w", err)
	}
	return Set(data[1].Permitted)<<32 | Set(data[0].Permitted), nil
}
