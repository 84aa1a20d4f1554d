package bus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"

	"muster/access"
	"muster/wire"
)

// Clock tells the time for the stamps of events.
type Clock interface {
	Now() (wire.UnixMicros, wire.MonoMicros)
}

// Options say where the bus lives.
type Options struct {
	Dir      string // of the store; made if need be
	Listen   string // "" means 127.0.0.1:4222; port 0 lets the kernel choose
	Boot     string // this run of the daemon
	Version  string // of the daemon, for the micro service's listing
	Clock    Clock
	Log      *slog.Logger // nil: no log
	MaxStore int64        // bytes on disk; 0 means 256 MiB
	Key      string       // that the store is encrypted with; "" leaves it plain

	Policy *access.Policy // who may do what; nil: root and this process's user everything, others nothing
	Socket Socket         // besides Listen
	Bounds Bounds         // of each identity

	WebSocket WebSocket // for web pages; none by default

	damaged string // folder for what could not be recovered; "" means the one in Dir
}

// The names of the accounts that are the daemon's alone.
const (
	ownAccount    = "MUSTER"
	systemAccount = "SYS"
)

// The bounds of the server.
const (
	maxConnections   = 4096              // of participants
	maxControlLine   = 4096              // bytes of a command, without what it carries
	maxSeats         = 4096              // connections of the daemon's own
	maxSubscriptions = 16384             // of one connection
	maxPending       = 64 << 20          // bytes that may wait for a connection; see start
	maxMemoryStore   = 16 << 20          // bytes of streams in memory, of which there are none
	writeDeadline    = 5 * time.Second   // for a connection that takes no bytes
	answerWindow     = 400 * time.Second // in which an endpoint may answer; above the longest wait of a wish
	startBudget      = 30 * time.Second  // for the recovery of a large store
	drainBudget      = time.Second       // for clients to read their last bytes
	defaultStore     = 256 << 20
)

// Bus is a running server and the daemon's connection to it.
type Bus struct {
	opts   Options
	log    *slog.Logger
	server *server.Server
	auth   *authentication
	own    *nats.Conn // in MUSTER
	system *nats.Conn // in SYS
	js     jetstream.JetStream
	micro  micro.Service

	store     *store
	fatal     chan string // why the server has given up
	questions questions
	seats     seats
	listings  listings
	tracing   tracing
	entrance  entrance
	address   string // where it listens
	socket    string // and the socket's file; "" where there is none
	journal   journal
	origins   origins
	faults    tally[fault]
	upsets    tally[string]  // of the daemon's own connections
	working   sync.WaitGroup // the parts that run until the end
	waiting   waiting
	ctx       context.Context //nolint:containedctx // the life of the bus, lent to every request
	cancel    context.CancelFunc

	mu   sync.Mutex
	gone []func(conn uint64)
}

// Open starts the server and takes the daemon's place on it; [Bus.Listen] lets others in. Its errors say what is in
// the way: the address is taken, the folder cannot be written, the store is damaged.
func Open(opts Options) (*Bus, error) {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Policy == nil {
		opts.Policy, _ = access.NewPolicy(nil, os.Geteuid()) // nothing in it can be wrong
	}
	opts.Bounds = opts.Bounds.orDefault()
	b := &Bus{
		opts: opts, log: opts.Log, store: newStore(opts), fatal: make(chan string, 1), questions: newQuestions(),
		seats: seats{taken: map[string]*nats.Conn{}},
	}
	b.entrance = entrance{bus: b, conns: map[net.Conn]bool{}}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	if err := b.start(); err != nil {
		return nil, errors.Join(err, b.stop())
	}
	if err := b.join(); err != nil {
		return nil, errors.Join(err, b.stop())
	}
	b.working.Go(b.watchBounds)
	return b, nil
}

// join takes the daemon's place on the bus.
func (b *Bus) join() (err error) {
	defer b.makeAhead()()
	if b.own, err = b.connect(ownUser); err != nil {
		return err
	}
	if b.system, err = b.connect(systemUser); err != nil {
		return err
	}
	if b.js, err = jetstream.New(b.own); err != nil {
		return err
	}
	if err := b.watchGone(); err != nil {
		return err
	}
	if err := errors.Join(b.relay(), b.listService()); err != nil {
		return err
	}
	if err := b.openJournal(); err != nil {
		return err
	}
	b.working.Go(b.mendStore)
	b.micro, err = micro.AddService(b.own, micro.Config{
		Name: "muster", Version: semantic(b.opts.Version), Description: "agreement on the state of this device",
	})
	return err
}

// connect makes one of the daemon's own connections, within the process.
func (b *Bus) connect(user string) (*nats.Conn, error) {
	nc, err := nats.Connect("", nats.InProcessServer(b.server), nats.UserInfo(user, b.auth.secret), nats.Name("muster"),
		nats.MaxReconnects(-1), nats.ReconnectWait(10*time.Millisecond),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) { b.upset(sub, err) }))
	if err != nil {
		return nil, fmt.Errorf("connect to the embedded server: %w", err)
	}
	return nc, nil
}

// upset notes that something went wrong with one of the daemon's own connections.
func (b *Bus) upset(sub *nats.Subscription, err error) {
	subject := ""
	if sub != nil {
		subject = sub.Subject
	}
	if n, worthLine := b.upsets.add(subject + err.Error()); worthLine {
		b.log.Error("bus connection", "subject", subject, "error", err, "count", n)
	}
}

// Flush returns when everything bound and sent so far has reached the server, so that whoever asks next is answered.
func (b *Bus) Flush() error {
	b.catchUp()
	return b.own.FlushTimeout(setupBudget)
}

// URL is where clients connect.
func (b *Bus) URL() string { return "nats://" + b.address }

// Close ends the bus: requests are refused, clients get a second to read their last bytes, and the server stops. It
// returns when nothing runs any more.
func (b *Bus) Close() error {
	if b.micro != nil {
		_ = b.micro.Stop() // a closed connection is no error here
	}
	b.cancel()
	b.waiting.close()
	b.working.Wait()
	b.closeJournal()
	b.drain()
	return b.stop()
}

// drain waits until no client has bytes pending.
func (b *Bus) drain() {
	flush := func(nc *nats.Conn) error { return nc.FlushTimeout(drainBudget) }
	_ = errors.Join(flush(b.own), b.seats.each(flush)) // the server is in this process; what cannot be flushed is lost with it
	deadline := time.NewTimer(drainBudget)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		z, err := b.server.Connz(&server.ConnzOptions{Limit: maxConnections})
		pending := 0
		if err == nil {
			for _, c := range z.Conns {
				pending += c.Pending
			}
		}
		if pending == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return
		}
	}
}

// stop ends what was started.
func (b *Bus) stop() error {
	b.cancel()
	err := b.entrance.close()
	for _, nc := range []*nats.Conn{b.own, b.system} {
		if nc != nil {
			nc.Close()
		}
	}
	_ = b.seats.each(func(nc *nats.Conn) error { nc.Close(); return nil }) // closing does not fail
	if b.server != nil {
		b.server.Shutdown()
		b.server.WaitForShutdown()
	}
	b.entrance.wait()
	return err
}

// secret makes the password of the daemon's own connections; it never leaves the process.
func secret() string { return rand.Text() }

// rest waits; false when the bus closes first.
func (b *Bus) rest(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-b.ctx.Done():
		return false
	}
}
