//go:build !linux

package access

import (
	"errors"
	"net"
	"net/netip"
)

// Socket is the other end of a connection within this device, as the kernel knows it.
type Socket struct {
	UID   int
	Inode uint32
}

// errNoWord says that this system's kernel does not tell.
var errNoWord = errors.New("only Linux tells who is at the other end of a connection")

// OwnerOf is known on Linux only.
func OwnerOf(_, _ netip.AddrPort) (Socket, error) { return Socket{}, errNoWord }

// PeerOf is known on Linux only.
func PeerOf(net.Conn) (Peer, Socket, error) { return Peer{}, Socket{}, errNoWord }

// ProcessOf is known on Linux only.
func ProcessOf(Socket) (pid int, exe string) { return 0, "" }
