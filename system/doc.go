// Package system is the device's state machine, with what hangs on it: notifiers, the event loops, the
// platform's operations and the timeline of the last boots. It is plain Go and knows nothing of NATS; what it
// needs of the outside stands in ports.go as small interfaces.
//
// A [Machine] is in exactly one [wire.State]. It moves by one transition at a time, and commits it only when
// every notifier that cares accepted in the same round (or when a limit said to proceed). Notifiers are
// called without any lock held and may call back into the Machine: what they ask for is queued behind the
// current step.
//
// A [Loop] runs booked calls one at a time, in the order booked among those whose state has come.
//
// Nothing starts in a constructor: each long-lived part has a Run(ctx) that its caller owns. Methods are
// safe for concurrent use.
package system
