// Package client is how another process takes part in the agreement on the device's state.
//
// A [Client] is one connection to the bus. With it a process
//
//   - sees the state ([Client.State], [Client.Watch], [Client.WaitFor]) and wishes for one ([Client.Request]);
//   - is asked before each step ([Client.Register]), and lets go of it ([Notifier.Resume]);
//   - has its part run on the device's event loop, in order with everybody else's ([Client.Attach], [Client.Book]),
//     and offers handlers that others book ([Client.Handle], [Client.Offer]);
//   - reads and writes the device's blobs ([Client.Blob]);
//   - sends and hears of what happens on the device ([Client.Publish], [Client.Listen]).
//
// Any other endpoint is asked with [Call]. A refused request is a [*wire.Error], whose code a caller can act on.
//
// The connection mends itself. After a reconnect notifiers are registered again with their session, offers are made
// again and watches go on from the state that the system is in by then; what the daemon had queued for the process in
// memory is lost with a daemon that was restarted, and is reported as [ErrRestarted].
//
// The package stands above wire alone and never links the NATS server. All methods are safe for concurrent use.
package client
