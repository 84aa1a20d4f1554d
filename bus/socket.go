package bus

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
)

// Socket says where the bus is reached without the network: a Unix socket, whose connections the kernel vouches for.
type Socket struct {
	Path  string      // "" means none
	Mode  os.FileMode // who may connect at all; 0 means 0666: what somebody may do is his role's to say
	Group string      // of the file; "" means the daemon's
}

// listenSocket begins to listen. A file that a former daemon left is taken away; one that somebody answers on is not.
func (b *Bus) listenSocket(s Socket) error {
	if s.Path == "" {
		return nil
	}
	if err := prepareFolder(filepath.Dir(s.Path)); err != nil {
		return fmt.Errorf("the socket's folder: %w", err)
	}
	if c, err := net.Dial("unix", s.Path); err == nil { //nolint:noctx // at once
		return errors.Join(fmt.Errorf("listen on %s: somebody answers there already", s.Path), c.Close())
	}
	if err := removeSocket(s.Path); err != nil {
		return fmt.Errorf("listen on %s: %w", s.Path, err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: s.Path, Net: "unix"})
	if err != nil {
		return fmt.Errorf("listen on a socket: %w", err)
	}
	if err := s.dress(); err != nil {
		return errors.Join(err, l.Close())
	}
	b.entrance.open(l)
	b.socket = s.Path
	return nil
}

// prepareFolder makes the folder of a socket. One that others may write to is refused: they could put a socket of their
// own in the place of the daemon's, and clients would take them for it.
func prepareFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if mode := info.Mode(); mode&0o022 != 0 && mode&os.ModeSticky == 0 {
		return fmt.Errorf("%s has mode %04o, so that others may put a socket of their own there; 0755 would be right", dir, mode.Perm())
	}
	return nil
}

// SocketPath is where clients connect without the network; "" where they cannot.
func (b *Bus) SocketPath() string { return b.socket }

// removeSocket takes a socket's file away, and nothing else.
func removeSocket(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode()&os.ModeSocket == 0:
		return errors.New("a file that is no socket stands there")
	}
	return os.Remove(path)
}

// dress gives the file its group and mode.
func (s Socket) dress() error {
	if s.Group != "" {
		group, err := user.LookupGroup(s.Group)
		if err != nil {
			return fmt.Errorf("group of the socket: there is no group %q on this device", s.Group)
		}
		gid, err := strconv.Atoi(group.Gid)
		if err == nil {
			err = os.Chown(s.Path, -1, gid)
		}
		if err != nil {
			return fmt.Errorf("group of the socket: %w", err)
		}
	}
	mode := s.Mode
	if mode == 0 {
		mode = 0o666
	}
	if err := os.Chmod(s.Path, mode); err != nil {
		return fmt.Errorf("mode of the socket: %w", err)
	}
	return nil
}
