// Package wire is the muster protocol as Go.
//
// It holds the states, every message, the table of request subjects ([Endpoints]) and of events
// ([Events]), the rights that each needs, the errors that a request can end in, and the two forms in
// which all of that travels: MessagePack between programs and JSON for people. The permissions of a
// role, the tables of docs/protocol.md and docs/asyncapi.yaml are made from these tables.
//
// Bytes from the bus are read by [Decode] alone. It checks the structure before anything is allocated,
// every number against the type that takes it, and every required key, so that no payload can crash the
// process or be cut to a different value in silence.
//
// The package knows nothing else of muster and nothing of NATS; it is safe for concurrent use.
package wire
