// Package bus is the system message distribution bus: an embedded NATS server and the daemon's own place on it.
//
// Connections come over TCP on a loopback address or over a Unix socket; the bus takes them itself, asks the kernel who is
// behind each, and joins it to the server. Every identity has an account of its own; the daemon's account, MUSTER,
// holds the streams and offers the endpoints to them. A request reaches it on a subject that begins with the account it
// comes out of, so the identity of a [wire.Caller] cannot be forged; which of the identity's connections it is, the
// server says in a header.
//
//   - [Handle] binds an endpoint of the protocol to a method.
//   - [Bus.Ask] puts a question to a participant, and ends at once when its connection closes.
//   - [Bus.Keep] and [Bus.Tell] send events in order; kept ones are stored behind, with retries.
//   - [Bus.OnGone] tells of closed connections, [Bus.Subscribers] whose a subscription is.
//   - [Look] says what of a store at rest a key opens, [Encrypt] takes over a plain one.
//
// A stream that lies on the disk and that the server did not recover is never made over: it is kept aside, and what can
// be read of it is taken over.
//
// [Open] is the one constructor of the project that starts something: the server. [Bus.Close] stops it and waits.
// The package stands above wire, access and internal/durable. All methods are safe for concurrent use.
package bus
