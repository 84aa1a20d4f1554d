package cli

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// freeSpace tells how many bytes the folder's disk has left for a process without privileges.
func freeSpace(dir string) (int64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return int64(s.Bavail) * int64(s.Bsize), nil //nolint:unconvert // their types differ between machines
}

// descriptors tells how many files a process has open, and how many it may have.
func descriptors(pid int) (open, most uint64, err error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return 0, 0, err
	}
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(limits)) {
		if rest, ok := strings.CutPrefix(line, "Max open files"); ok {
			most, err = strconv.ParseUint(strings.Fields(rest)[0], 10, 64)
			return uint64(len(entries)), most, err
		}
	}
	return 0, 0, errUnknownHere
}

// replaced reports whether the program that a process runs is no longer on the disk.
func replaced(pid int) bool {
	program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return err == nil && strings.HasSuffix(program, " (deleted)")
}
