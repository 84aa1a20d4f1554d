// Package access says who a connection is and what it may do: a connection becomes an [Identity], an identity has
// rights, and rights become the subjects that the server lets it use.
//
// This version knows one identity: whoever connects over the loopback interface is the administrator. It gets its
// account, its rights and its permissions in the way that any other identity will, so that more identities change
// this package and nothing else. Connections from elsewhere are refused.
//
// The package stands above wire alone and is safe for concurrent use.
package access

import (
	"net"
	"slices"

	"github.com/nats-io/nats-server/v2/server"

	"muster/wire"
)

// Identity is who a connection speaks for. Each has an account of its own on the bus, so that no other can see its
// inboxes or answer in its name.
type Identity struct {
	Name    string
	Account string   // on the bus
	Rights  []string // in the protocol's words; "admin" has all of them
}

// Admin is the right that includes every other, and the store of the bus with it.
const Admin = "admin"

// local is the administrator of this device.
var local = Identity{Name: "local-admin", Account: "LOCAL-ADMIN", Rights: []string{Admin}}

// Identify gives the identity behind an address, false for one that has none.
func Identify(remote net.Addr) (Identity, bool) {
	tcp, ok := remote.(*net.TCPAddr)
	if !ok || !tcp.IP.IsLoopback() {
		return Identity{}, false
	}
	return local, true
}

// May reports whether the identity has the right, whose parameters are filled in: "blob:read:auth".
func (i Identity) May(right string) bool {
	return slices.Contains(i.Rights, Admin) || slices.Contains(i.Rights, right)
}

// Check gives the 403 of an identity that lacks the right.
func (i Identity) Check(right string) error {
	if i.May(right) {
		return nil
	}
	return wire.Errorf(wire.CodeForbidden, "%s lacks the right %s", i.Name, right).With("right", right)
}

// Permissions are what the server itself enforces: nobody forges an event of the daemon's within his own account, or
// listens where the daemon is asked.
func (i Identity) Permissions() *server.Permissions {
	forged := []string{"sys.ota.>", "sys.trust.>"}
	for _, e := range wire.Events() {
		if e.Sender == "" {
			forged = append(forged, e.Pattern())
		}
	}
	return &server.Permissions{
		Publish:   &server.SubjectPermission{Deny: forged},
		Subscribe: &server.SubjectPermission{Deny: []string{"sys.api.>", "sys.loop.*", "$SRV.>"}},
	}
}
