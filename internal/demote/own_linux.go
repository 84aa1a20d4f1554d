package demote

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// The bounds of a folder that is given away.
const (
	maxDepth   = 32
	maxEntries = 1 << 20
)

// Own gives a folder and everything in it to the account. A symbolic link or a file with a second name in it is an error:
// with either, whoever may write there could have root give away any file of the device.
func Own(a Account, dir string) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("give the user %s a folder: open %s: %w", a.Name, dir, err)
	}
	g := giving{to: a, left: maxEntries}
	if err := g.folder(os.NewFile(uintptr(fd), dir), maxDepth); err != nil {
		return fmt.Errorf("give the user %s a folder: %w", a.Name, err)
	}
	return nil
}

// giving is a walk through a folder.
type giving struct {
	to   Account
	left int // entries that may still come
}

// folder gives away what is in f and then f itself, and closes it.
func (g *giving) folder(f *os.File, deep int) (err error) {
	defer func() { err = errors.Join(err, f.Close()) }()
	if deep == 0 {
		return fmt.Errorf("%s is more than %d folders deep", f.Name(), maxDepth)
	}
	for {
		entries, err := f.Readdirnames(1000)
		for _, name := range entries {
			if g.left--; g.left < 0 {
				return fmt.Errorf("%s holds more than %d files", f.Name(), maxEntries)
			}
			if err := g.entry(f, name, deep); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return g.give(int(f.Fd()), f.Name())
		}
		if err != nil {
			return err
		}
	}
}

// entry gives away one that is in f. It is held while it is looked at, so that nothing can take its place.
func (g *giving) entry(f *os.File, name string, deep int) error {
	path := filepath.Join(f.Name(), name)
	fd, err := unix.Openat(int(f.Fd()), name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	defer func() { _ = unix.Close(fd) }()
	var is unix.Stat_t
	if err := unix.Fstat(fd, &is); err != nil {
		return fmt.Errorf("look at %s: %w", path, err)
	}
	switch kind := is.Mode & unix.S_IFMT; {
	case kind == unix.S_IFLNK:
		return fmt.Errorf("%s is a symbolic link; only plain files and folders would be right", path)
	case kind == unix.S_IFDIR:
		below, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open %s: %w", path, err)
		}
		return g.folder(os.NewFile(uintptr(below), path), deep-1)
	case is.Nlink > 1:
		return fmt.Errorf("%s has %d names; a file with one would be right", path, is.Nlink)
	}
	return g.give(fd, path)
}

func (g *giving) give(fd int, path string) error {
	if err := unix.Fchownat(fd, "", g.to.UID, g.to.GID, unix.AT_EMPTY_PATH); err != nil {
		return fmt.Errorf("give away %s: %w", path, err)
	}
	return nil
}
