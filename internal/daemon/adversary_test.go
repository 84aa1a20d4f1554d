//go:build unix

package daemon

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"golang.org/x/sys/unix"

	"muster/access"
	"muster/bus/bustest"
	"muster/wire"
)

// prey is a daemon with something to lose: a secret, a blob, and a notifier of somebody else's.
type prey struct {
	*running
	admin, victim     *nats.Conn
	weak, greedy, own bustest.Key // two observers, and an administrator
	booking           string      // of the victim's
	web               string      // where web pages connect

	mu   sync.Mutex
	ears []*ear
}

// ear is an adversary's connection, which keeps whatever is received.
type ear struct {
	net.Conn
	mu    sync.Mutex
	heard bytes.Buffer
}

func (e *ear) Read(p []byte) (int, error) {
	n, err := e.Conn.Read(p)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.heard.Write(p[:n])
	return n, err
}

// attempt is one way in.
type attempt struct {
	*testing.T
	*prey
}

// Dial implements [nats.CustomDialer].
func (p *prey) Dial(network, address string) (net.Conn, error) {
	conn, err := net.Dial(network, address) //nolint:noctx // at once
	if err != nil {
		return nil, err
	}
	e := &ear{Conn: conn}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ears = append(p.ears, e)
	return e, nil
}

// nobody is a connection that has not said yet who it is.
func (a *attempt) nobody() *bustest.Raw {
	a.Helper()
	conn, err := a.Dial("tcp", strings.TrimPrefix(a.URL, "nats://"))
	if err != nil {
		a.Fatal(err)
	}
	return bustest.NewRaw(a.T, conn)
}

func (a *attempt) observer() *bustest.Raw {
	a.Helper()
	r := a.nobody()
	r.Connect(a.weak)
	return r
}

// denied says lines as the observer, each of which must be refused.
func (a *attempt) denied(lines ...string) {
	a.Helper()
	r := a.observer()
	for _, line := range lines {
		r.Say("%s\r\n", line)
		got, open := r.Ping()
		if !open || !slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "Permissions Violation") }) {
			a.Errorf("%q is answered with %q, open: %v", line, got, open)
		}
	}
}

func (a *attempt) subscribe(subjects ...string) {
	a.Helper()
	for n, subject := range subjects {
		subjects[n] = "SUB " + subject + " 1"
	}
	a.denied(subjects...)
}

func (a *attempt) publish(subjects ...string) {
	a.Helper()
	for n, subject := range subjects {
		subjects[n] = "PUB " + subject + " _INBOX.x 6\r\nforged"
	}
	a.denied(subjects...)
}

// ends says something as the observer that must end the connection.
func (a *attempt) ends(texts ...string) {
	a.Helper()
	for _, text := range texts {
		r := a.observer()
		r.Say("%s", text)
		if got, open := r.Ping(); open {
			a.Errorf("%.40q is answered with %q", text, got)
		}
	}
}

// shut says something before CONNECT, or as it, that must end the connection.
func (a *attempt) shut(text func(r *bustest.Raw) string) {
	a.Helper()
	r := a.nobody()
	r.Say("%s", text(r))
	if got, open := r.Ping(); open {
		a.Errorf("it is answered with %q", got)
	}
}

// client is the observer with a library.
func (a *attempt) client() *nats.Conn {
	a.Helper()
	nc, err := nats.Connect(a.URL, a.weak.Option(), nats.SetCustomDialer(a.prey))
	if err != nil {
		a.Fatal(err)
	}
	a.Cleanup(nc.Close)
	return nc
}

// forbidden asks as the observer what needs a right that it lacks.
func (a *attempt) forbidden(subject, text string) {
	a.Helper()
	if code := ask(a.T, a.client(), subject, text, nil); code != "403" {
		a.Errorf("%s %s is answered with %q", subject, text, code)
	}
}

// forges asks with a header as it is, and must be refused.
func (a *attempt) forges(header string) {
	a.Helper()
	r := a.observer()
	head := "NATS/1.0\r\nContent-Type: application/json\r\n" + header + "\r\n\r\n"
	r.Say("SUB _INBOX.forger 1\r\nHPUB sys.api.blob.get.auth.0 _INBOX.forger %d %d\r\n%s{}\r\n", len(head), len(head)+2, head)
	for {
		line, err := r.Line()
		if err != nil {
			a.Fatalf("no refusal: %v", err)
		}
		if strings.HasPrefix(line, "Nats-Service-Error-Code: 4") {
			return
		}
	}
}

// claims connects as the observer who says more of himself, and must be no more than that.
func (a *attempt) claims(more string) {
	a.Helper()
	r := a.nobody()
	r.Say(`CONNECT {"headers":true,"verbose":false,"nkey":%q,"sig":%q,%s}`+"\r\n", a.weak.Public, a.weak.Sign(r.Info), more)
	if _, open := r.Ping(); !open {
		return // refused altogether
	}
	for _, subject := range []string{"$SYS.REQ.SERVER.PING", "$JS.API.STREAM.LIST", "sys.state", "$KV.SYS_BLOBS.auth.0"} {
		r.Say("PUB %s 6\r\nforged\r\n", subject)
		if got, open := r.Ping(); open && !strings.Contains(strings.Join(got, ""), "Permissions Violation") {
			a.Errorf("with %s, %s is answered with %q", more, subject, got)
		}
	}
}

// direct asks the store on a subject that the observer may use, for something else than the subject says.
func (a *attempt) direct(payload string) {
	a.Helper()
	nc := a.client()
	for _, subject := range []string{
		"$JS.API.DIRECT.GET.KV_SYS_BLOBS.$KV.SYS_BLOBS.user-canary.0", "$JS.API.DIRECT.GET.KV_SYS_BLOBS.$KV.SYS_BLOBS.device-serial.0", "$JS.API.DIRECT.GET.SYS_EVENTS",
	} {
		sub, err := nc.SubscribeSync(nc.NewRespInbox())
		if err != nil {
			a.Fatal(err)
		}
		if err := nc.PublishRequest(subject, sub.Subject, []byte(payload)); err != nil {
			a.Fatal(err)
		}
	}
	state(a.T, nc)
}

// ways are the ways in.
var ways = map[string]func(a *attempt){
	"garbage":                 func(a *attempt) { a.ends("\x00\xff\x16\x03\x01garbage\r\n") },
	"an oversized line":       func(a *attempt) { a.ends("PUB " + strings.Repeat("x.", 5000) + " 1\r\nx\r\n") },
	"a line of 5 MB":          func(a *attempt) { a.ends("SUB " + strings.Repeat("x", 5<<20)) },
	"a negative size":         func(a *attempt) { a.ends("PUB sys.api.state.get -1\r\n") },
	"a huge size":             func(a *attempt) { a.ends("PUB sys.api.state.get 99999999999999999999\r\n") },
	"a size above the limit":  func(a *attempt) { a.ends("PUB sys.api.state.get 999999999\r\n") },
	"headers longer than all": func(a *attempt) { a.ends("HPUB sys.api.state.get 99 5\r\n") },
	"a route's words":         func(a *attempt) { a.ends("RS+ MUSTER sys.>\r\n", "RMSG MUSTER sys.state 6\r\nforged\r\n") },
	"a leaf's words":          func(a *attempt) { a.ends("LS+ sys.>\r\n", "LMSG sys.state 6\r\nforged\r\n") },
	"a gateway's words":       func(a *attempt) { a.ends("A+ MUSTER\r\n") },
	"a forged origin":         func(a *attempt) { a.forges(`Nats-Request-Info: {"acc":"MUSTER","id":1}`) },
	"in small letters":        func(a *attempt) { a.forges(`nats-request-info: {"acc":"MUSTER","id":1}`) },
	"in capitals":             func(a *attempt) { a.forges(`NATS-REQUEST-INFO: {"acc":"MUSTER","id":1}`) },
	"behind a bare LF":        func(a *attempt) { a.forges("X: y\nNats-Request-Info: {\"acc\":\"MUSTER\",\"id\":1}\nZ: z") },
	"listen to everything":    func(a *attempt) { a.subscribe(">", "*.>", "*.*", "*.*.>") },
	"listen to requests":      func(a *attempt) { a.subscribe("sys.>", "sys.api.>", "sys.loop.*", "from.>", "out.>", "ask.>") },
	"listen to the server":    func(a *attempt) { a.subscribe("$SYS.>", "$SYS.ACCOUNT.*.CONNECT", "muster.>") },
	"listen to the store":     func(a *attempt) { a.subscribe("$JS.>", "$JS.API.>", "$KV.>", "$KV.SYS_BLOBS.auth.0") },
	"listen to replies":       func(a *attempt) { a.subscribe("_R_.>", "_R_.*") },
	"listen to traces":        func(a *attempt) { a.subscribe("sys.trace.*", "sys.trace.>") },
	"listen to a secret":      func(a *attempt) { a.subscribe("sys.blob.auth.0", "sys.blob.auth.*", "sys.blob.client-key-der.0") },
	"be the service":          func(a *attempt) { a.subscribe("$SRV.>", "$SRV.PING", "$SRV.INFO.muster") },
	"share a queue": func(a *attempt) {
		a.subscribe("sys.api.> muster", "sys.api.state.get q", "sys.notify.victim q", "sys.call.victim q")
	},
	"hear another's questions": func(a *attempt) { a.subscribe("sys.notify.victim", "sys.notify.*", "sys.call.victim", "sys.done.>") },
	"read others' inboxes":     overhear,
	"ask the server": func(a *attempt) {
		a.publish("$SYS.REQ.SERVER.PING", "$SYS.REQ.ACCOUNT.MUSTER.CONNZ", "$SYS.REQ.USER.INFO")
	},
	"make or drop a stream": func(a *attempt) {
		a.publish("$JS.API.STREAM.CREATE.X", "$JS.API.STREAM.UPDATE.KV_SYS_BLOBS", "$JS.API.STREAM.DELETE.KV_SYS_BLOBS")
	},
	"purge the store": func(a *attempt) {
		a.publish("$JS.API.STREAM.PURGE.KV_SYS_BLOBS", "$JS.API.STREAM.MSG.DELETE.KV_SYS_BLOBS")
	},
	"read by the stream": func(a *attempt) {
		a.publish("$JS.API.STREAM.MSG.GET.KV_SYS_BLOBS", "$JS.API.STREAM.SNAPSHOT.KV_SYS_BLOBS")
	},
	"read by a consumer": func(a *attempt) {
		a.publish("$JS.API.CONSUMER.CREATE.KV_SYS_BLOBS", "$JS.API.CONSUMER.CREATE.KV_SYS_BLOBS.x.$KV.SYS_BLOBS.auth.0", "$JS.API.CONSUMER.DURABLE.CREATE.KV_SYS_BLOBS.x")
	},
	"read by direct get": func(a *attempt) {
		const get = "$JS.API.DIRECT.GET.KV_SYS_BLOBS"
		a.publish(get, get+".$KV.SYS_BLOBS.auth.0", get+".$KV.SYS_BLOBS.*.0", get+".$KV.SYS_BLOBS.>", get+".>")
	},
	"by number instead":       func(a *attempt) { a.direct(`{"seq":1}`) },
	"by last for instead":     func(a *attempt) { a.direct(`{"last_by_subj":"$KV.SYS_BLOBS.auth.0"}`) },
	"by many last instead":    func(a *attempt) { a.direct(`{"multi_last":["$KV.SYS_BLOBS.>"],"batch":100}`) },
	"by batch instead":        func(a *attempt) { a.direct(`{"seq":1,"next_by_subj":">","batch":100}`) },
	"write by key-value":      func(a *attempt) { a.publish("$KV.SYS_BLOBS.auth.0", "$KV.SYS_BLOBS.user-canary.0") },
	"acknowledge for another": func(a *attempt) { a.publish("$JS.ACK.SYS_LOOP.x.1.1.1.1.1", "$JS.FC.x.y.z") },
	"forge a state":           func(a *attempt) { a.publish("sys.state", "sys.state.OPERATIONAL", "sys.transition", "sys.loop-error") },
	"forge a blob's event": func(a *attempt) {
		a.publish("sys.blob.auth.0", "sys.trace.request", "sys.ota.done", "sys.trust.updated")
	},
	"forge a message":            func(a *attempt) { a.publish("out.sys.user.3.x", "sys.user.3.x", "sys.network.route", "out.sys.state") },
	"the daemon's own subjects":  func(a *attempt) { a.publish("muster.again.sys.state", "muster.loop.x", "ask.x.notify.victim", "_R_.x") },
	"speak from another account": func(a *attempt) { a.publish("from.UID-0.sys.api.op.reboot", "from.MUSTER.sys.api.op.reboot") },
	"ask or call another": func(a *attempt) {
		a.publish("sys.notify.victim", "sys.call.victim", "sys.done.victim", "_INBOX.victim")
	},
	"steer an answer":          steer,
	"ask for no answer":        mute,
	"guess the daemon's user":  func(a *attempt) { a.claims(`"user":"muster","pass":"guess"`) },
	"guess the system's user":  func(a *attempt) { a.claims(`"user":"system","pass":"guess"`) },
	"bring a token":            func(a *attempt) { a.claims(`"auth_token":"guess","jwt":"eyJhbGciOiJub25lIn0.e30."`) },
	"name another account":     func(a *attempt) { a.claims(`"account":"MUSTER","new_account":true,"name":"muster"`) },
	"neither echo nor headers": func(a *attempt) { a.claims(`"echo":false,"headers":false,"no_responders":true`) },
	"an unknown key": func(a *attempt) {
		other := bustest.NewKey(a.T)
		a.shut(func(r *bustest.Raw) string { return connect(other.Public, other.Sign(r.Info)) })
	},
	"another's key, own signature": func(a *attempt) {
		a.shut(func(r *bustest.Raw) string { return connect(a.own.Public, a.weak.Sign(r.Info)) })
	},
	"a replayed signature": func(a *attempt) {
		before := a.nobody()
		a.shut(func(*bustest.Raw) string { return connect(a.own.Public, a.own.Sign(before.Info)) })
	},
	"a key without signature": func(a *attempt) { a.shut(func(*bustest.Raw) string { return connect(a.own.Public, "") }) },
	"a page of HTTP": func(a *attempt) {
		a.shut(func(*bustest.Raw) string { return "GET / HTTP/1.1\r\nHost: muster\r\n\r\n" })
	},
	"a form with requests in it": func(a *attempt) {
		a.shut(func(*bustest.Raw) string {
			return "POST / HTTP/1.1\r\n\r\nCONNECT {}\r\nPUB sys.api.op.reboot 0\r\n\r\n"
		})
	},
	"an upgrade on the bus's port": func(a *attempt) {
		a.shut(func(*bustest.Raw) string {
			return "GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
		})
	},
	"a web page without a ticket": func(a *attempt) { a.page() },
	"a web page with a guess":     func(a *attempt) { a.page(nats.UserInfo("ticket-1", "guess")) },
	"a web page as the daemon":    func(a *attempt) { a.page(nats.UserInfo("muster", "guess")) },
	"a web page with a key":       func(a *attempt) { a.page(a.own.Option()) },
	"read a secret":               func(a *attempt) { a.forbidden("sys.api.blob.get.auth.0", `{}`) },
	"its size":                    func(a *attempt) { a.forbidden("sys.api.blob.size.auth.0", `{}`) },
	"write a secret":              func(a *attempt) { a.forbidden("sys.api.blob.set.auth.0", dataOf("forged")) },
	"add to a blob":               func(a *attempt) { a.forbidden("sys.api.blob.append.user-canary.0", dataOf("forged")) },
	"empty a blob":                func(a *attempt) { a.forbidden("sys.api.blob.empty.user-canary.0", `{}`) },
	"list the secrets":            func(a *attempt) { ask(a.T, a.client(), "sys.api.blob.list", `{}`, nil) },
	"register as another":         func(a *attempt) { a.forbidden("sys.api.notifier.register.victim", `{}`) },
	"resume as another":           func(a *attempt) { a.forbidden("sys.api.state.resume.victim", `{}`) },
	"unregister another":          func(a *attempt) { a.forbidden("sys.api.notifier.unregister.victim", `{}`) },
	"book another's call":         func(a *attempt) { a.forbidden("sys.loop.0", `{"call":"sys.call.victim"}`) },
	"cancel another's booking":    func(a *attempt) { a.forbidden("sys.api.loop.cancel", `{"id":"`+a.booking+`"}`) },
	"offer another's handler":     func(a *attempt) { a.forbidden("sys.api.loop.offer.victim", `{}`) },
	"move the system":             func(a *attempt) { a.forbidden("sys.api.state.request", `{"target":"POLICY_INVALID","reason":"x"}`) },
	"force the system": func(a *attempt) {
		a.forbidden("sys.api.state.request", `{"target":"CONTEXT_DESTROYING","reason":"x","force":true}`)
	},
	"abort a move":           func(a *attempt) { a.forbidden("sys.api.state.abort", `{"reason":"x"}`) },
	"reboot":                 func(a *attempt) { a.forbidden("sys.api.op.reboot", `{"reason":"x"}`) },
	"set the clock":          func(a *attempt) { a.forbidden("sys.api.op.set-clock", `{"at_us":1,"source":"x"}`) },
	"see who is there":       func(a *attempt) { a.forbidden("sys.api.access.who", `{}`) },
	"issue a ticket":         func(a *attempt) { a.forbidden("sys.api.access.ticket", `{"role":"admin"}`) },
	"a request of 65 KiB":    func(a *attempt) { a.faulty("413", []byte(strings.Repeat(" ", 65<<10))) },
	"deep nesting":           func(a *attempt) { a.faulty("400", bytes.Repeat([]byte{0x91}, 60_000)) },
	"share the port":         sharePort,
	"half-open connections":  halfOpen,
	"a flood of connections": connections,
	"a flood of requests":    requests,
}

func connect(key, signature string) string {
	return fmt.Sprintf(`CONNECT {"verbose":false,"nkey":%q,"sig":%q}`+"\r\n", key, signature)
}

// overhear listens to all inboxes while an administrator reads the secret.
func overhear(a *attempt) {
	r := a.observer()
	r.Say("SUB _INBOX.> 1\r\n")
	r.Ping()
	ask(a.T, a.admin, "sys.api.blob.get.auth.0", `{}`, nil)
	if got, open := r.Ping(); !open || len(got) > 0 {
		a.Errorf("heard %q, open: %v", got, open)
	}
}

// steer has the answers to requests go where they would be requests.
func steer(a *attempt) {
	nc := a.client()
	for _, reply := range []string{
		"sys.api.op.reboot", "sys.api.state.request", "sys.loop.0", "sys.notify.victim", "$JS.API.STREAM.PURGE.KV_SYS_BLOBS", a.admin.NewRespInbox(),
	} {
		if err := nc.PublishRequest("sys.api.state.get", reply, nil); err != nil {
			a.Fatal(err)
		}
	}
	state(a.T, nc)
}

// mute asks for what is forbidden without waiting for a refusal.
func mute(a *attempt) {
	nc := a.client()
	for _, subject := range []string{"sys.api.op.reboot", "sys.api.blob.empty.auth.0", "sys.api.notifier.unregister.victim"} {
		if err := nc.Publish(subject, nil); err != nil {
			a.Fatal(err)
		}
	}
	state(a.T, nc)
}

// page connects as a web page does, and must be refused.
func (a *attempt) page(opts ...nats.Option) {
	a.Helper()
	nc, err := nats.Connect(a.web, append(opts, nats.SetCustomDialer(a.prey))...)
	if err == nil {
		nc.Close()
		a.Error("it is let in")
	}
}

// faulty sends what is no request, and is told so.
func (a *attempt) faulty(code string, data []byte) {
	a.Helper()
	if got := request(a.T, a.client(), "sys.api.blob.list", "", data); got.Header.Get("Nats-Service-Error-Code") != code {
		a.Errorf("got %v, want %s", got.Header, code)
	}
}

// sharePort listens where the bus does.
func sharePort(a *attempt) {
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		failed := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
		if err == nil {
			err = failed
		}
		return err
	}}
	if l, err := config.Listen(a.Context(), "tcp", strings.TrimPrefix(a.URL, "nats://")); err == nil {
		_ = l.Close()
		a.Error("the port is shared")
	}
}

// halfOpen connects often, and says nothing or half a line.
func halfOpen(a *attempt) {
	for range 20 {
		a.nobody()
		a.nobody().Say("CONN")
	}
}

// connections connects more often than an identity may.
func connections(a *attempt) {
	refused := 0
	for range 24 {
		r := a.nobody()
		r.Say("%s", connect(a.greedy.Public, a.greedy.Sign(r.Info)))
		if _, open := r.Ping(); !open {
			refused++
		}
	}
	if refused != 8 {
		a.Errorf("%d of 24 connections were refused where 16 may be", refused)
	}
}

// requests asks faster than an identity may, and reads no answer before the end.
func requests(a *attempt) {
	conn, err := nats.Connect(a.URL, a.greedy.Option(), nats.SetCustomDialer(a.prey))
	if err != nil {
		a.Fatal(err)
	}
	defer conn.Close()
	const many = 3000
	sub, err := conn.SubscribeSync(conn.NewRespInbox())
	if err != nil {
		a.Fatal(err)
	}
	for range many {
		if err := conn.PublishRequest("sys.api.op.list", sub.Subject, nil); err != nil {
			a.Fatal(err)
		}
	}
	state(a.T, a.admin)
	if codes := answers(a.T, sub, many); codes["429"] == 0 {
		a.Errorf("nothing was too much: %v", codes)
	}
}

// hunted starts the daemon, and gives it something to lose.
func hunted(t *testing.T, secret string) *prey {
	t.Helper()
	p := &prey{weak: bustest.NewKey(t), greedy: bustest.NewKey(t), own: bustest.NewKey(t)}
	other := bustest.NewKey(t)
	p.running = start(t, t.TempDir(), func(c *Config) {
		c.WebSocket.Listen = "127.0.0.1:0"
		c.Bounds.Connections, c.Bounds.Requests = 16, 500
		c.Roles = []access.Role{
			p.weak.Role("weak", "observer"), p.greedy.Role("greedy", "observer"), p.own.Role("own", "admin"),
			other.Role("other", "participant", "handler:victim"),
		}
	})
	p.admin = p.dial()
	await(t, p.admin, wire.Operational)
	victim, err := nats.Connect(p.URL, other.Option())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(victim.Close)
	p.victim = victim
	give := func(nc *nats.Conn, subject, text string, into any) {
		t.Helper()
		if code := ask(t, nc, subject, text, into); code != "" {
			t.Fatalf("%s: %s", subject, code)
		}
	}
	give(p.admin, "sys.api.blob.set.auth.0", dataOf(secret), nil)
	give(p.admin, "sys.api.blob.set.user-canary.0", dataOf("canary"), nil)
	for _, subject := range []string{"sys.notify.victim", "sys.call.victim"} {
		if _, err := victim.Subscribe(subject, func(m *nats.Msg) { t.Errorf("%s heard %q", m.Subject, m.Data) }); err != nil {
			t.Fatal(err)
		}
	}
	give(victim, "sys.api.notifier.register.victim", `{}`, nil)
	give(victim, "sys.api.loop.offer.victim", `{}`, nil)
	var booked wire.Booked
	give(victim, "sys.loop.0", `{"call":"sys.call.victim","state":"MODAL_UPDATING"}`, &booked)
	p.booking = booked.ID
	var ticket wire.Ticket
	give(p.admin, "sys.api.access.ticket", `{"role":"observer"}`, &ticket)
	p.web = ticket.URL
	return p
}

// picture is all that an adversary must not change.
type picture struct {
	State, Goal wire.State
	Seq         uint64
	Moving      bool
	Notifiers   wire.Notifiers
	Blobs       wire.Blobs
	Loops       wire.Loops
	Secret      string
}

func (a *attempt) look() (p picture) {
	a.Helper()
	view := state(a.T, a.admin)
	p.State, p.Goal, p.Seq, p.Moving = view.State, view.Goal, view.Seq, view.Transition != nil
	ask(a.T, a.admin, "sys.api.notifier.list", `{}`, &p.Notifiers)
	ask(a.T, a.admin, "sys.api.blob.list", `{}`, &p.Blobs)
	ask(a.T, a.admin, "sys.api.loop.list", `{}`, &p.Loops)
	var part wire.BlobPart
	ask(a.T, a.admin, "sys.api.blob.get.auth.0", `{}`, &part)
	p.Secret = string(part.Data)
	return p
}

// betrayed reports whether the secret is in anything that was received.
func (p *prey) betrayed(secret string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.ears, func(e *ear) bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return bytes.Contains(e.heard.Bytes(), []byte(secret)) ||
			bytes.Contains(e.heard.Bytes(), []byte(base64.StdEncoding.EncodeToString([]byte(secret))))
	})
}

// TestAdversary tries every way in as the weakest there is, an observer or somebody unknown, and finds after each that
// nothing has changed, that the secret was in nothing that came back, and that an administrator is still answered.
func TestAdversary(t *testing.T) {
	const secret = "the canary's secret, which nobody hears"
	p := hunted(t, secret)
	before := (&attempt{t, p}).look()
	if before.State != wire.Operational || before.Secret != secret || len(before.Blobs.Blobs) < 2 {
		t.Fatalf("there is nothing to lose: %+v", before)
	}
	for name, try := range ways {
		t.Run(name, func(t *testing.T) {
			a := &attempt{t, p}
			try(a)
			if diff := cmp.Diff(before, a.look()); diff != "" {
				t.Errorf("it changed something:\n%s", diff)
			}
			if p.betrayed(secret) {
				t.Fatal("it was told the secret")
			}
		})
	}
}
