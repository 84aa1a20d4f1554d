package system

import "muster/wire"

// Clock tells the time twice: by the wall, which may jump, and by the clock that counts suspend and never does.
type Clock interface {
	Now() (wire.UnixMicros, wire.MonoMicros)
}

// Journal sends events, stamped, in the order of the calls and on one connection. No call waits for the store.
type Journal interface {
	Keep(subject string, event wire.Stamped) wire.Stamp // kept: the stamp has the next seq
	Tell(subject string, event wire.Stamped)            // not kept
	Seq() uint64                                        // of the last kept event
	Health() wire.StoreHealth                           // whether what was kept is stored
}

// Participant is a process on the bus as the daemon reaches it: a connection of an identity.
type Participant struct {
	Identity string
	Conn     uint64 // 0: any connection of the identity
	Subject  string // where it is asked
	Format   wire.Format
}

// Asker carries questions to notifiers in other processes.
type Asker interface {
	// Ask sends the question and returns at once. answer is called from another goroutine for every answer
	// that comes, also a late or a second one, with [ErrGone] once the participant's connection is closed or
	// nobody is subscribed, and with a [*wire.Error] for an answer that cannot be read. After forget it is
	// called no more. Neither may block.
	Ask(to Participant, question wire.Question, answer func(wire.Answer, error)) (forget func())
}

// Presence knows the connections of the bus.
type Presence interface {
	// Subscribers gives the connections of the caller's identity that hold a subscription on exactly that
	// subject, one entry for each subscription.
	Subscribers(caller wire.Caller, subject string) ([]uint64, error)
	// Listens reports whether any connection of the caller's identity hears what comes on that subject. It costs next to
	// nothing.
	Listens(caller wire.Caller, subject string) bool
	// Alive reports whether the connection is open. Once it is not, Gone is told of it, or was.
	Alive(conn uint64) bool
}

// Caller runs booked calls in other processes.
type Caller interface {
	// Call sends the call and waits for its answer until done is closed. The error is [ErrGone] when nobody is
	// there to run it, a [*wire.Error] when the participant answered with one.
	Call(done <-chan struct{}, to Participant, call wire.Call) (wire.Raw, error)
}
