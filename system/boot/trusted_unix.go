//go:build unix

package boot

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// trusted checks that nobody but root and user can change what a path leads to: the file or folder itself, and every
// folder above it. In a folder above with the sticky bit others may make files, but not replace ours.
func trusted(path string, user int) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("%s is not an absolute path", path)
	}
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a plain file (%s)", path, info.Mode().Type())
	}
	if info.Mode().IsRegular() && info.Mode().Perm()&0o111 == 0 {
		return fmt.Errorf("%s is not executable (mode %04o); 0755 would be right", path, info.Mode().Perm())
	}
	return ours(path, info, user)
}

// trustedFile is trusted for a file that is read.
func trustedFile(path string, user int) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a plain file (%s)", path, info.Mode().Type())
	}
	return ours(path, info, user)
}

// ours checks whose a file or folder is, and every folder above it.
func ours(path string, info fs.FileInfo, user int) error {
	if err := owned(path, info, user, false); err != nil {
		return err
	}
	for above := filepath.Dir(path); ; above = filepath.Dir(above) {
		info, err := os.Stat(above)
		if err != nil {
			return err
		}
		if err := owned(above, info, user, info.Mode()&fs.ModeSticky != 0); err != nil {
			return err
		}
		if above == filepath.Dir(above) {
			return nil
		}
	}
}

// owned checks one file or folder. In one that is shared, others may write.
func owned(path string, info fs.FileInfo, user int, shared bool) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok:
		return fmt.Errorf("whose %s is cannot be told", path)
	case stat.Uid != 0 && int(stat.Uid) != user:
		return fmt.Errorf("%s belongs to uid %d; root's or uid %d's would be right", path, stat.Uid, user)
	case info.Mode().Perm()&0o022 != 0 && !shared:
		return fmt.Errorf("%s may be written by others (mode %04o); 0755 would be right", path, info.Mode().Perm())
	}
	return nil
}
