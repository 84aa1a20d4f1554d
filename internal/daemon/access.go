package daemon

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"muster/access"
	"muster/bus"
)

// noSocket as the path of the socket means that there is none.
const noSocket = "none"

// maxSocketPath is the longest path that a Unix socket can have, in bytes (sun_path without its end).
const maxSocketPath = 107

// checkAccess holds what is said of the ways in against what it may be.
func (c Config) checkAccess() error {
	mode, err := strconv.ParseUint(c.Socket.Mode, 8, 32)
	switch {
	case err != nil || mode > 0o777:
		return fmt.Errorf("socket.mode is %q; an octal mode such as 0660 would be right", c.Socket.Mode)
	case c.Socket.Path != "" && c.Socket.Path != noSocket && !filepath.IsAbs(c.Socket.Path):
		return fmt.Errorf("socket.path is %q; an absolute path or \"none\" would be right", c.Socket.Path)
	case len(c.Socket.Path) > maxSocketPath:
		return fmt.Errorf("socket.path has %d bytes; a socket's path has at most %d", len(c.Socket.Path), maxSocketPath)
	}
	if host, _, err := net.SplitHostPort(c.WebSocket.Listen); c.WebSocket.Listen != "" && (err != nil || !net.ParseIP(host).IsLoopback()) {
		return fmt.Errorf("websocket.listen is %q; a loopback address such as 127.0.0.1:8222 would be right", c.WebSocket.Listen)
	}
	for _, bound := range []struct {
		name  string
		value int
	}{
		{"connections", c.Bounds.Connections},
		{"subscriptions", c.Bounds.Subscriptions},
		{"requests", c.Bounds.Requests},
		{"bytes", c.Bounds.Bytes},
	} {
		if bound.value < 1 {
			return fmt.Errorf("bounds.%s is %d; 1 or more would be right", bound.name, bound.value)
		}
	}
	_, err = c.policy()
	return err
}

// policy compiles the roles.
func (c Config) policy() (*access.Policy, error) { return access.NewPolicy(c.Roles, c.own()) }

// bounds gives the bounds of each identity as the bus takes them.
func (c Config) bounds() bus.Bounds { return bus.Bounds(c.Bounds) }

// socket gives where the Unix socket is to be. A default path that is too long for one is left out, and said so.
func (c Config) socket() (s bus.Socket, left string) {
	path := cmp.Or(c.Socket.Path, c.defaultSocket())
	if path == noSocket {
		return s, ""
	}
	if len(path) > maxSocketPath {
		return s, path
	}
	mode, _ := strconv.ParseUint(c.Socket.Mode, 8, 32) // Check has seen to it
	return bus.Socket{Path: path, Mode: os.FileMode(mode), Group: c.Socket.Group}, ""
}

// defaultSocket is in the runtime folder of the service, else that of the user; beside the state where that is not in
// its usual place, so that two daemons do not meet.
func (c Config) defaultSocket() string {
	const name = "bus.sock"
	runtime := os.Getenv("XDG_RUNTIME_DIR")
	switch {
	case c.Dir != DefaultDir() || os.Geteuid() != 0 && !filepath.IsAbs(runtime):
		return filepath.Join(c.Dir, name)
	case os.Geteuid() == 0:
		return filepath.Join("/run/muster", name)
	}
	return filepath.Join(runtime, "muster", name)
}
