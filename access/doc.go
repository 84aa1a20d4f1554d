// Package access says who a connection is and what it may do.
//
// The kernel or a signature says who stands behind a connection: a [Peer], never the connection itself. A [Policy],
// compiled from the roles of the configuration, makes an [Identity] of it: a name, the roles whose who it fits, and the
// rights that they grant. An identity's rights become the subjects that the server lets it use ([Identity.Permissions],
// [Identity.Imports]); endpoints ask for the right once more ([Identity.Check]), because only they can tell the caller
// which one is missing.
//
// Who fits no role is refused. Root and the user of the daemon itself are administrators, whatever the roles say.
//
// The package stands above wire alone and is safe for concurrent use.
package access
