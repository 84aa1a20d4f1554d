package access

import (
	"fmt"
	"strconv"

	"muster/wire"
)

// local reports whether the kernel vouches for the peer's user.
func (p Peer) local() bool { return p.Via == wire.ViaTCP || p.Via == wire.ViaUnix }

// Peer is what is known of the process behind a connection, by the word of the kernel or of a signature.
type Peer struct {
	Via          wire.Via
	UID          int    // with tcp and unix
	GIDs         []int  // the groups of the process with unix, of the user with tcp
	PID          int    // with unix; 0 where it is not known
	Exe          string // the process's program; "" where it is not known
	Nkey         string // the public key, with nkey
	Ticket, Role string // with ticket: its user, and what it is good for
}

// Subject names the peer by what a role could name: "uid:1001", "nkey:U…".
func (p Peer) Subject() string {
	switch p.Via {
	case wire.ViaNkey:
		return "nkey:" + p.Nkey
	case wire.ViaTicket:
		return p.Ticket
	default: // the kernel's word
		return "uid:" + strconv.Itoa(p.UID)
	}
}

// String names the peer in a log: "uid:1001 pid 412 /usr/bin/modemd over unix".
func (p Peer) String() string {
	text := p.Subject()
	if p.PID != 0 {
		text += fmt.Sprintf(" pid %d", p.PID)
	}
	if p.Exe != "" {
		text += " " + p.Exe
	}
	return text + " over " + string(p.Via)
}
