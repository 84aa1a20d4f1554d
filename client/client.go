package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// DefaultURL is where the bus is when nothing else is said.
const DefaultURL = "nats://127.0.0.1:4222"

// Options are what can be said of a connection; the zero value works.
type Options struct {
	Name    string        // of this process in listings; "" means the program's name
	Patient bool          // keep trying to connect until ctx is done: the daemon may start later
	Log     *slog.Logger  // told what happens to the connection and to what is registered; nil: no log
	NATS    []nats.Option // further options of the NATS connection
}

// Client is a process's connection to the bus.
type Client struct {
	nc   *nats.Conn
	log  *slog.Logger
	life context.Context //nolint:containedctx // ends with Close, and every callback with it
	end  context.CancelFunc
	work sync.WaitGroup // callbacks and rejoining

	mu       sync.Mutex
	closed   bool
	renewals map[any]func(context.Context) // what is done again after a reconnect
	changed  chan struct{}                 // closed at a reconnect, and made anew
	bookings map[string]*Booked
	inbox    string // where results of bookings come; "" before the first
	boot     string // of the daemon that the connection is to; "" as long as nobody wanted to know
}

// The times of the client's own.
const (
	connectBudget = 5 * time.Second  // for one attempt to connect
	answerBudget  = 10 * time.Second // for an answer when the context says nothing
	retryWait     = 100 * time.Millisecond
	longestRetry  = 5 * time.Second
)

// ErrNoDaemon says that nobody answers: no daemon runs there, or it is not ready.
var ErrNoDaemon = errors.New("no daemon answers")

// ErrRefused says that the daemon does not let this process connect: no role names it.
var ErrRefused = errors.New("the daemon refuses the connection")

// Connect joins the bus at a URL: nats://127.0.0.1:4222, or unix:///run/muster/bus.sock for the socket; "" means
// [DefaultURL]. Whom no role names is [ErrRefused].
func Connect(ctx context.Context, url string, opts Options) (*Client, error) {
	if url == "" {
		url = DefaultURL
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Name == "" {
		opts.Name = filepath.Base(os.Args[0])
	}
	c := &Client{
		log: opts.Log, renewals: map[any]func(context.Context){}, changed: make(chan struct{}), bookings: map[string]*Booked{},
	}
	c.life, c.end = context.WithCancel(context.WithoutCancel(ctx))
	options := append(c.options(opts.Name), opts.NATS...)
	if path, ok := strings.CutPrefix(url, "unix://"); ok {
		options = append(options, nats.SetCustomDialer(socketDialer(path)))
		url = "nats://localhost" // which the dialer does not ask for
	}
	for wait := retryWait; ; wait = min(2*wait, longestRetry) {
		nc, err := nats.Connect(url, options...)
		if err == nil {
			c.mu.Lock()
			c.nc = nc
			c.mu.Unlock()
			return c, nil
		}
		if errors.Is(err, nats.ErrAuthorization) {
			err = fmt.Errorf("%w (%w)", ErrRefused, err)
		}
		if !opts.Patient {
			c.end()
			return nil, fmt.Errorf("connect to %s: %w", url, err)
		}
		if !pause(ctx, wait) {
			c.end()
			return nil, fmt.Errorf("connect to %s: %w (%w)", url, err, context.Cause(ctx))
		}
	}
}

// socketDialer connects to a Unix socket, whatever address is asked for.
type socketDialer string

// Dial implements nats.CustomDialer.
func (path socketDialer) Dial(string, string) (net.Conn, error) {
	return net.DialTimeout("unix", string(path), connectBudget) //nolint:noctx // nats.go has none to give
}

// options are how the client keeps its connection.
func (c *Client) options(name string) []nats.Option {
	return []nats.Option{
		nats.Name(name), nats.Timeout(connectBudget), nats.MaxReconnects(-1), nats.ReconnectWait(retryWait),
		nats.ReconnectJitter(retryWait, retryWait), nats.PingInterval(20 * time.Second),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				c.log.Warn("bus lost", "error", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			c.log.Info("bus is back", "url", nc.ConnectedUrlRedacted())
			c.renew()
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			subject := ""
			if sub != nil {
				subject = sub.Subject
			}
			c.log.Warn("bus connection", "subject", subject, "error", err)
		}),
	}
}

// Conn is the NATS connection underneath, for what this package does not do.
func (c *Client) Conn() *nats.Conn { return c.nc }

// Close leaves the bus and waits until no callback runs any more: it must not be called from one. What was registered
// is lost to the daemon at once, as with a process that ends.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.end()
	c.nc.Close()
	c.work.Wait()
}

// start runs f on a goroutine of its own until the client is closed; false when it is.
func (c *Client) start(f func(ctx context.Context)) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.work.Go(func() { f(c.life) })
	return true
}

// renewing has f called after each reconnect, as long as key stays.
func (c *Client) renewing(key any, f func(context.Context)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.renewals[key] = f
}

func (c *Client) forget(key any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.renewals, key)
}

// renew does again what a new connection has to do, and wakes whoever watches.
func (c *Client) renew() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.changed)
	c.changed, c.boot = make(chan struct{}), ""
	if c.closed {
		return
	}
	for _, f := range c.renewals {
		c.work.Go(func() { f(c.life) })
	}
}

// reconnected is closed at the next reconnect.
func (c *Client) reconnected() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// pause waits; false when ctx is done first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
