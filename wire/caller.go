package wire

// Caller is who stands behind a request: what the server itself says of the connection that it came on,
// never what the message says.
type Caller struct {
	Identity string // the identity's name, "uid:1001"; the daemon's own parts are [Daemon]
	Conn     uint64 // the server's id of the connection, never used twice in one run; 0 for the daemon's own, and of who only reads
}

// Daemon is the identity of the daemon's own parts, which need no connection.
const Daemon = "daemon"

// Internal is the caller for requests that the daemon makes of itself.
var Internal = Caller{Identity: Daemon}
