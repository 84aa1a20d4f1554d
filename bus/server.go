package bus

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"muster/access"
	"muster/wire"
)

// start brings the server up.
//
// What is sent to a connection that has three quarters of maxPending waiting is dropped (NoFastProducerStall), and one
// that takes nothing for writeDeadline is closed. So a slow client holds up nobody, a flood of large requests is
// answered with 503 by the server ("no responders"), and the daemon's own connections are never closed for it: the
// last quarter has room for the largest message many times over. The client library drops what waits for one endpoint
// when that is more than 64 MiB.
func (b *Bus) start() error {
	host, port, err := listenAddress(b.opts.Listen)
	if err != nil {
		return err
	}
	if err := b.store.prepare(); err != nil {
		return err
	}
	if err := probeAddress(host, port); err != nil {
		return err
	}
	if err := b.distrust(); err != nil {
		return fmt.Errorf("look through the store: %w", err)
	}
	web, err := b.opts.WebSocket.web()
	if err != nil {
		return err
	}
	own, sys := server.NewAccount(ownAccount), server.NewAccount(systemAccount)
	b.auth = newAuthentication(b, b.opts.Policy)
	b.server, err = server.NewServer(&server.Options{
		ServerName: "muster", Host: host, Port: port, DontListen: true, NoSigs: true, // see entrance
		JetStream: true, StoreDir: b.store.dir, SyncAlways: true, JetStreamMaxStore: b.store.max, JetStreamMaxMemory: maxMemoryStore,
		JetStreamKey: b.opts.Key, JetStreamCipher: server.AES, DisableJetStreamBanner: true,
		MaxPayload: wire.MaxPayload, MaxConn: maxConnections + maxSeats, MaxSubs: maxSubscriptions, MaxPending: maxPending,
		WriteDeadline: writeDeadline, MaxControlLine: maxControlLine, NoFastProducerStall: true, AlwaysEnableNonce: true,
		Accounts: []*server.Account{own, sys}, SystemAccount: systemAccount, CustomClientAuthentication: b.auth, Websocket: web,
	})
	b.opts.Key = "" // the server has it now
	if err != nil {
		return fmt.Errorf("set up the server: %w", err)
	}
	b.server.SetLoggerV2(&serverLog{log: b.log, fatal: b.fatal, storeFails: b.store.fails}, false, false, false)
	b.server.Start()
	if err := b.died(); err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	if !b.server.ReadyForConnections(startBudget) {
		return fmt.Errorf("start the server: not ready after %v", startBudget)
	}
	return b.export()
}

// died gives the reason when the server has given up.
func (b *Bus) died() error {
	select {
	case reason := <-b.fatal:
		return errors.New(reason)
	default:
		return nil
	}
}

// Listen lets clients in. Before that only the daemon itself is on the bus, so that nobody meets an endpoint that does
// not answer yet, or takes the last state of the boot before for this one's: it waits, a moment, until the first event
// that was kept is stored.
func (b *Bus) Listen() error {
	b.awaitFirst()
	l, err := net.Listen("tcp", cmp.Or(b.opts.Listen, defaultListen)) //nolint:noctx // at once
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	b.address = l.Addr().String()
	b.entrance.open(l)
	b.listenBeside(l.Addr().(*net.TCPAddr))
	return b.listenSocket(b.opts.Socket)
}

// listenBeside listens on the same port of the loopback address of the other family, so that a client that says
// "localhost" finds the daemon there too, and not somebody who poses as it.
func (b *Bus) listenBeside(address *net.TCPAddr) {
	beside := map[string]string{"127.0.0.1": "::1", "::1": "127.0.0.1"}[address.IP.String()]
	if beside == "" {
		return
	}
	beside = net.JoinHostPort(beside, strconv.Itoa(address.Port))
	l, err := net.Listen("tcp", beside) //nolint:noctx // at once
	switch {
	case err == nil:
		b.entrance.open(l)
	case errors.Is(err, syscall.EADDRINUSE):
		b.log.Warn("somebody else listens where localhost may lead: clients should name the address", "there", beside, "address", address.String())
	}
}

// defaultListen is where any NATS client looks.
const defaultListen = "127.0.0.1:4222"

// listenAddress gives what the server takes.
func listenAddress(listen string) (host string, port int, err error) {
	listen = cmp.Or(listen, defaultListen)
	host, text, err := net.SplitHostPort(listen)
	if err != nil {
		return "", 0, fmt.Errorf("listen on %q: %w", listen, err)
	}
	port, err = strconv.Atoi(text)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return "", 0, fmt.Errorf("listen on %q: a loopback address such as 127.0.0.1:4222 would be right", listen)
	}
	return host, port, nil
}

// probeAddress finds out whether the address is free, for an error that says so.
func probeAddress(host string, port int) error {
	l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port))) //nolint:noctx // at once
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return l.Close()
}

// export offers the daemon's endpoints and events to the accounts of identities.
func (b *Bus) export() error {
	own, err := b.server.LookupAccount(ownAccount)
	if err != nil {
		return err
	}
	if err := own.EnableJetStream(nil, nil); err != nil {
		return fmt.Errorf("open the store: %w", err)
	}
	var errs []error
	for _, subject := range access.Endpoints {
		subject = from("*", subject)
		errs = append(errs, own.AddServiceExport(subject, nil), own.SetServiceExportResponseThreshold(subject, answerWindow))
	}
	for _, subject := range access.AdminServices {
		errs = append(errs, own.AddServiceExportWithResponse(subject, server.Streamed, nil))
	}
	for _, e := range wire.Events() {
		errs = append(errs, own.AddStreamExport(e.Pattern(), nil))
	}
	errs = append(errs, own.AddStreamExport(secretPrefix+">", nil))
	for _, root := range messageRoots() {
		subject := from("*", root)
		errs = append(errs, own.AddServiceExport(subject, nil), own.SetServiceExportResponseThreshold(subject, time.Second))
	}
	errs = append(errs, own.AddStreamExport("_INBOX.>", nil))
	b.auth.own = own
	return errors.Join(errs...)
}
