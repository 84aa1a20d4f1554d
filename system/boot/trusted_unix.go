//go:build unix

package boot

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// trusted checks that nobody but root and user can change what a path leads to: the file or folder itself, every folder above it, and
// the links that lead there. In a folder above with the sticky bit others may make files, but not replace ours.
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
	return above(path, user, maxLinks)
}

// maxLinks is how many links may lead to a file, one behind the other, as the kernel has it.
const maxLinks = 40

// above checks the folders above a path. Of one that is a link it checks whose that is, and what it leads to.
func above(path string, user, links int) error {
	dir := filepath.Dir(path)
	if dir == path {
		return nil
	}
	info, err := os.Lstat(dir)
	switch {
	case err != nil:
		return err
	case info.Mode()&fs.ModeSymlink == 0:
		err = owned(dir, info, user, info.Mode()&fs.ModeSticky != 0)
	case links == 0:
		err = fmt.Errorf("more than %d links lead to %s", maxLinks, path)
	default:
		err = linked(dir, info, user, links-1)
	}
	if err != nil {
		return err
	}
	return above(dir, user, links)
}

// linked checks a link, and what it leads to with every folder above.
func linked(link string, info fs.FileInfo, user, links int) error {
	if err := owned(link, info, user, true); err != nil { // the mode of a link means nothing
		return err
	}
	to, err := os.Readlink(link)
	if err != nil {
		return err
	}
	if !filepath.IsAbs(to) {
		from, err := filepath.EvalSymlinks(filepath.Dir(link))
		if err != nil {
			return err
		}
		to = filepath.Join(from, to)
	}
	return above(filepath.Join(to, "x"), user, links) // as if for something within
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
