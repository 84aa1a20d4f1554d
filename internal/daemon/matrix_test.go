package daemon

import (
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"muster/access"
	"muster/bus/bustest"
	"muster/wire"
)

// sample fills the parameters of a subject or a right, the same ones in both.
var sample = strings.NewReplacer("blob.<", "blob.<", // blobs have names of their own
	"<notifier>", "x", "<index>", "0", "<n>", "0", "<class>", "3", "<what>", "link", "<kind>", "request", "<state>", "DHCP", "<name>", "x")

// filledIn gives a subject or a right as somebody would use it.
func filledIn(text string) string {
	if strings.Contains(text, "blob") {
		text = strings.ReplaceAll(text, "<name>", "device-serial")
	}
	return sample.Replace(text)
}

// TestMatrix walks every role, and a role for each right alone, over every subject of the protocol, and holds what the
// server and the daemon do against what the tables say.
func TestMatrix(t *testing.T) {
	names := map[string][]string{ // the role and what it may
		"as-observer": {access.Observer}, "as-participant": {access.Participant}, "as-admin": {wire.RightAdmin}, "secret": {"blob:read:auth"},
	}
	for _, right := range wire.Rights() {
		right = filledIn(right)
		names[strings.NewReplacer(":", "-", ".", "-").Replace(right)] = []string{right}
	}
	keys, roles := map[string]bustest.Key{}, []access.Role{}
	for name, may := range names {
		if name == "admin" {
			continue // the right, which is the administrator's
		}
		keys[name] = bustest.NewKey(t)
		roles = append(roles, keys[name].Role(name, may...))
	}
	r := start(t, t.TempDir(), func(c *Config) { c.Roles = roles })
	policy, err := access.NewPolicy(roles, -1)
	if err != nil {
		t.Fatal(err)
	}
	admin := r.dial()
	await(t, admin, wire.Operational)
	for _, role := range roles {
		t.Run(role.Name, func(t *testing.T) {
			key := keys[role.Name]
			identity, ok := policy.Identify(access.Peer{Via: wire.ViaNkey, Nkey: key.Public})
			if !ok {
				t.Fatal("no identity")
			}
			requestMatrix(t, r, key, identity)
			subjectMatrix(t, r, admin, key, identity)
		})
	}
	if nc, err := nats.Connect(r.URL, bustest.NewKey(t).Option()); err == nil {
		nc.Close()
		t.Error("a key without a role was let in")
	}
}

// requestMatrix asks every endpoint: who lacks the right is told which, and nobody else is told so.
func requestMatrix(t *testing.T, r *running, key bustest.Key, identity access.Identity) {
	nc, err := nats.Connect(r.URL, key.Option())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for _, e := range wire.Endpoints() {
		subject, right := filledIn(e.Subject), filledIn(e.Right)
		m := nats.NewMsg(subject)
		m.Header.Set(wire.HeaderContentType, wire.ContentJSON)
		answer, err := nc.RequestMsg(m, patience)
		if err != nil {
			t.Errorf("%s: %v", subject, err)
			continue
		}
		refused := answer.Header.Get(wire.HeaderErrorCode) == "403"
		if may := right == "" || identity.May(right); refused == may {
			t.Errorf("%s, which needs %q: %s %s", subject, right, answer.Header.Get(wire.HeaderErrorCode), answer.Data)
		}
		var fault wire.Error
		if refused && (wire.DecodeJSON(answer.Data, &fault) != nil || fault.Detail["right"] != right) {
			t.Errorf("%s: %s does not name the right %s", subject, answer.Data, right)
		}
	}
}

// subjectMatrix subscribes and publishes by hand, where the server itself says what it denies.
func subjectMatrix(t *testing.T, r *running, admin *nats.Conn, key bustest.Key, identity access.Identity) {
	raw := bustest.DialRaw(t, r.URL)
	raw.Connect(key)
	denied := func(format string, args ...any) bool {
		raw.Say(format, args...)
		lines, open := raw.Ping()
		if !open {
			t.Fatalf("%s: the connection is closed: %q", strings.TrimSpace(format), lines)
		}
		return slices.ContainsFunc(lines, func(line string) bool { return strings.HasPrefix(line, "-ERR 'Permissions Violation") })
	}
	for _, e := range wire.Endpoints() {
		if subject := filledIn(e.Subject); !denied("SUB %s 1\r\nUNSUB 1\r\n", subject) {
			t.Errorf("%s: one may listen where the daemon is asked", subject)
		}
	}
	var heard []string // what has to come
	for n, e := range wire.Events() {
		for _, subject := range []string{filledIn(e.Subject), strings.Replace(filledIn(e.Subject), "device-serial", "auth", 1)} {
			right := strings.Replace(filledIn(e.Right), "device-serial", strings.Split(subject+"...", ".")[2], 1)
			if !strings.HasPrefix(subject, "sys.blob.") {
				right = filledIn(e.Right)
			}
			may := identity.May(right)
			if denied("SUB %s %d%d\r\n", subject, n+1, len(heard)) == may {
				t.Errorf("listen to %s, which needs %q: may is %v", subject, right, may)
			}
			if may && !slices.Contains(heard, subject) {
				heard = append(heard, subject)
			}
		}
		subject, right := filledIn(e.Subject), filledIn(e.Sender)
		if may := e.Sender != "" && identity.May(right); denied("PUB %s 2\r\n{}\r\n", subject) == may {
			t.Errorf("publish on %s, which needs %q: may is %v", subject, right, may)
		}
	}
	for _, wide := range []string{">", "sys.>", "*.*", "*.*.*.*", "from.>", "$SYS.>", "$JS.>", "$KV.>"} {
		if allowed := !denied("SUB %s 7\r\nUNSUB 7\r\n", wide); allowed && !identity.Admin() {
			t.Errorf("one may listen to %s", wide)
		}
	}
	for _, what := range []string{"device-serial", "auth"} {
		ask(t, admin, "sys.api.blob.set."+what+".0", `{"data":"AAAA"}`, nil)
	}
	ask(t, admin, "sys.api.state.request", `{"target":"IFACE_COLDPLUG","reason":"matrix","fall_back":true}`, nil)
	ask(t, admin, "sys.loop.0", `{"call":"sys.call.nobody"}`, nil)
	for _, e := range wire.Events() {
		if e.Sender != "" {
			if err := admin.Publish(filledIn(e.Subject), []byte("\x80")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := admin.Flush(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "every event that may be heard", func() bool {
		ask(t, admin, "sys.api.op.list", ``, nil) // which may be traced
		lines, open := raw.Ping()
		for _, line := range lines {
			subject, _, _ := strings.Cut(strings.TrimPrefix(line, "MSG "), " ")
			if subject, ok := strings.CutPrefix(line, "HMSG "); ok {
				subject, _, _ = strings.Cut(subject, " ")
				heard = slices.DeleteFunc(heard, func(want string) bool { return want == subject })
			}
			heard = slices.DeleteFunc(heard, func(want string) bool { return want == subject })
		}
		return open && len(heard) == 0
	})
}
