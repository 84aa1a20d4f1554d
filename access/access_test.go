package access

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"muster/wire"
)

// pair is a TCP connection over the loopback interface: the client's end and the server's.
func pair(t testing.TB, network, address string) (client, served *net.TCPConn) {
	t.Helper()
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	var dialer net.Dialer
	c, err := dialer.DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = c.Close(), s.Close() })
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

func addr(a net.Addr) netip.AddrPort { return a.(*net.TCPAddr).AddrPort() }

func TestOwnerOf(t *testing.T) {
	for _, tt := range []struct{ network, address string }{
		{"tcp4", "127.0.0.1:0"}, {"tcp6", "[::1]:0"}, {"tcp", "[::ffff:127.0.0.1]:0"},
	} {
		client, served := pair(t, tt.network, tt.address)
		s, err := OwnerOf(addr(served.RemoteAddr()), addr(served.LocalAddr()))
		if err != nil || s.UID != os.Geteuid() || s.Inode == 0 {
			t.Errorf("%s: %+v, %v", tt.address, s, err)
		}
		if pid, exe := ProcessOf(s); pid != os.Getpid() || exe == "" {
			t.Errorf("%s: process %d %s", tt.address, pid, exe)
		}
		_ = client.Close()
		if s, err := OwnerOf(addr(served.RemoteAddr()), addr(served.LocalAddr())); err == nil {
			t.Errorf("%s, closed: %+v", tt.address, s)
		}
	}
}

// TestOwnerOfOthers asks for what is not a connection of anybody's.
func TestOwnerOfOthers(t *testing.T) {
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	listening, nowhere := addr(l.Addr()), netip.MustParseAddrPort("127.0.0.1:1")
	for name, pair := range map[string][2]netip.AddrPort{
		"a listener": {listening, nowhere}, "nobody": {nowhere, listening},
		"two families": {listening, netip.MustParseAddrPort("[::1]:1")},
	} {
		if s, err := OwnerOf(pair[0], pair[1]); err == nil {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

func TestPeerOf(t *testing.T) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	c, err := net.DialUnix("unix", nil, l.Addr().(*net.UnixAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	s, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	p, _, err := PeerOf(s)
	if err != nil || p.UID != os.Geteuid() || p.PID != os.Getpid() || p.Exe == "" || !slices.Contains(p.GIDs, os.Getegid()) {
		t.Errorf("%v, groups %v, %v", p, p.GIDs, err)
	}
}

const key = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"

func TestIdentify(t *testing.T) {
	p, err := NewPolicy([]Role{
		{Name: "modem", Who: []string{"uid:1001"}, May: []string{"state:read", "notifier:modem"}},
		{Name: "root-too", Who: []string{"user:root"}, May: []string{"trace"}},
		{Name: "serial", Who: []string{"group:root"}, May: []string{"blob:write:device-serial"}},
		{Name: "tool", Who: []string{"uid:1001", "exe:/usr/bin/tool"}, May: []string{"op:reboot"}},
		{Name: "cloud", Who: []string{"nkey:" + key}, May: []string{Observer}},
	}, 990)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		peer  Peer
		want  string
		roles string
	}{
		"by uid":        {Peer{Via: wire.ViaTCP, UID: 1001}, "uid:1001", "modem"},
		"by program":    {Peer{Via: wire.ViaUnix, UID: 1001, GIDs: []int{1001}, Exe: "/usr/bin/tool"}, "uid:1001+tool", "modem tool"},
		"by group":      {Peer{Via: wire.ViaUnix, UID: 1002, GIDs: []int{1002, 0}}, "uid:1002+serial", "serial"},
		"root":          {Peer{Via: wire.ViaTCP}, "uid:0", "admin root-too serial"},
		"the daemon":    {Peer{Via: wire.ViaTCP, UID: 990}, "uid:990", "admin"},
		"by key":        {Peer{Via: wire.ViaNkey, Nkey: key}, "nkey:" + key, "cloud"},
		"nobody":        {Peer{Via: wire.ViaTCP, UID: 1003}, "", ""},
		"program alone": {Peer{Via: wire.ViaUnix, UID: 1003, GIDs: []int{1003}, Exe: "/usr/bin/tool"}, "", ""},
		"another key":   {Peer{Via: wire.ViaNkey, Nkey: "U"}, "", ""},
	} {
		i, ok := p.Identify(tt.peer)
		if ok != (tt.want != "") || ok && (i.Name != tt.want || strings.Join(i.Roles(), " ") != tt.roles || strings.ContainsAny(i.Account, ".*> :")) {
			t.Errorf("%s: %+v %v, want %s with %s", name, i, ok, tt.want, tt.roles)
		}
	}
}

// TestNamed asks for identities of whom nobody is connected: they have the rights that they would have.
func TestNamed(t *testing.T) {
	p, err := NewPolicy([]Role{
		{Name: "modem", Who: []string{"uid:1001"}, May: []string{"call:gps"}},
		{Name: "tool", Who: []string{"uid:1001", "exe:/usr/bin/tool"}, May: []string{"op:reboot"}},
		{Name: "serial", Who: []string{"group:root"}, May: []string{"blob:write:device-serial"}},
		{Name: "cloud", Who: []string{"nkey:" + key}, May: []string{Observer}},
	}, 990)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"uid:1001": "modem", "uid:1001+tool": "modem tool", "uid:1001+serial": "modem", "uid:1001+gone": "modem", "uid:0": "admin",
		"uid:990": "admin", "nkey:" + key: "cloud", "uid:1002": "", "uid:x": "", "nkey:U": "", "ticket-1": "", "daemon": "",
	} {
		i, ok := p.Named(name)
		if got := strings.Join(i.Roles(), " "); got != want || ok != (want != "") || ok && i.Name != name {
			t.Errorf("%s: %q with %q, %v; want %q", name, i.Name, got, ok, want)
		}
	}
}

// TestAccounts gives no two identities the same account, not even those whose roles differ only in their case.
func TestAccounts(t *testing.T) {
	p, err := NewPolicy([]Role{
		{Name: "modem", Who: []string{"uid:1001", "exe:/usr/bin/a"}, May: []string{"state:read"}},
		{Name: "Modem", Who: []string{"uid:1001", "exe:/usr/bin/b"}, May: []string{"op:reboot"}},
	}, 0)
	if err != nil {
		t.Fatal(err)
	}
	a, _ := p.Identify(Peer{Via: wire.ViaUnix, UID: 1001, GIDs: []int{1001}, Exe: "/usr/bin/a"})
	b, _ := p.Identify(Peer{Via: wire.ViaUnix, UID: 1001, GIDs: []int{1001}, Exe: "/usr/bin/b"})
	if a.Name == b.Name || a.Account == b.Account {
		t.Errorf("%s in %s, and %s in %s", a.Name, a.Account, b.Name, b.Account)
	}
}

func TestRoleErrors(t *testing.T) {
	for want, r := range map[string]Role{
		"role name":                    {Name: "a.b", Who: []string{"uid:1"}},
		"names nobody":                 {Name: "a", Who: []string{"exe:/usr/bin/x"}},
		"a program alone is no proof":  {Name: "a", Who: []string{"anyone", "exe:/usr/bin/x"}},
		"uid: and a number":            {Name: "a", Who: []string{"uid:root"}},
		`no user "nobody-of-that-name`: {Name: "a", Who: []string{"user:nobody-of-that-name"}},
		`no group "none-of-that-name"`: {Name: "a", Who: []string{"group:none-of-that-name"}},
		"begins with U":                {Name: "a", Who: []string{"nkey:SUA"}},
		"absolute path":                {Name: "a", Who: []string{"uid:1", "exe:x"}},
		"anyone would be right":        {Name: "a", Who: []string{"everybody"}},
		"the nearest is state:read":    {Name: "a", Who: []string{"uid:1"}, May: []string{"state:reed"}},
		"one of that name":             {Name: Observer, Who: []string{"uid:1"}},
	} {
		if _, err := NewPolicy([]Role{r}, 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got %v, want it to say %q", r, err, want)
		}
	}
}

// identity is one that may do what is listed.
func identity(t testing.TB, may ...string) Identity {
	t.Helper()
	p, err := NewPolicy([]Role{{Name: "tested", Who: []string{"uid:1001"}, May: may}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	i, ok := p.Identify(Peer{Via: wire.ViaTCP, UID: 1001})
	if !ok {
		t.Fatal("no identity")
	}
	return i
}

func TestMay(t *testing.T) {
	for _, tt := range []struct {
		may   string
		right string
		want  bool
	}{
		{"state:read", "state:read", true},
		{"state:read", "state:request", false},
		{"notifier:*", "notifier:backup", true},
		{"notifier:backup", "notifier:backups", false},
		{"blob:read:*", "blob:read:device-serial", true},
		{"blob:read:*", "blob:read:auth", false},
		{"blob:write:*", "blob:write:mqtt-password", false},
		{"blob:read:auth", "blob:read:auth", true},
		{"smd:publish:*", "smd:publish:user.3", true},
		{"smd:publish:user.3", "smd:publish:user.4", false},
		{"admin", "blob:read:client-key-der", true},
		{Observer, "blob:read:user-x", true},
		{Observer, "notifier:x", false},
		{Participant, "notifier:x", true},
		{Participant, "state:request", false},
	} {
		i := identity(t, tt.may)
		if got := i.May(tt.right); got != tt.want {
			t.Errorf("%s may %s: %v", tt.may, tt.right, got)
		}
		ruling := i.Explain(tt.right)
		if ruling.Allowed != tt.want || !strings.Contains(ruling.Rule, "role") || i.Check(tt.right) == nil != tt.want {
			t.Errorf("%s, %s: %+v", tt.may, tt.right, ruling)
		}
	}
	if err := identity(t, "state:read").Check("op:reboot"); wire.AsError(err).Detail["right"] != "op:reboot" {
		t.Errorf("refusal %v", err)
	}
	if identity(t, "state:read").Check("") != nil {
		t.Error("no right was needed")
	}
}

func TestPermissions(t *testing.T) {
	i := identity(t, "state:read", "notifier:modem", "handler:backup", "blob:read:auth", "blob:read:user-x", "smd:publish:user.3", "smd:read")
	p := i.Permissions()
	has := func(list []string, want ...string) {
		t.Helper()
		for _, subject := range want {
			if !slices.Contains(list, subject) {
				t.Errorf("%s is missing in %v", subject, list)
			}
		}
	}
	has(p.Publish.Allow, "sys.api.>", "sys.loop.*", "out.sys.user.3.*", "$JS.API.DIRECT.GET.KV_SYS_BLOBS.$KV.SYS_BLOBS.auth.1",
		"$JS.API.DIRECT.GET.KV_SYS_BLOBS.$KV.SYS_BLOBS.user-x.0", "$JS.API.DIRECT.GET.SYS_EVENTS.>")
	has(p.Publish.Deny, "sys.state", "sys.state.*", "sys.transition", "sys.blob.*.*", "sys.trace.*")
	has(p.Subscribe.Allow, "_INBOX.>", "sys.notify.modem", "sys.call.backup", "sys.state.>", "sys.blob.auth.*", "sys.user.*.*")
	has(p.Subscribe.Deny, "sys.api.>", "sys.loop.*", "$SRV.>", "sys.blob.mqtt-password.*")
	for _, subject := range slices.Concat(p.Publish.Allow, p.Subscribe.Allow) {
		for _, never := range []string{">", "$JS.API.>", "$JS.API.CONSUMER", "$JS.API.STREAM.MSG", "$KV.>", "$SYS", "sys.notify.*", "sys.trace"} {
			if subject == never || strings.HasPrefix(subject, never+".") {
				t.Errorf("%s is allowed", subject)
			}
		}
		if strings.HasPrefix(subject, blobRead) && strings.ContainsAny(subject[len(blobRead):], "*>") {
			t.Errorf("%s is a pattern, which the store would take for one", subject)
		}
	}
	if a := identity(t, "admin").Permissions(); a.Publish.Allow != nil || !slices.Contains(a.Publish.Deny, "sys.state") {
		t.Errorf("an administrator's permissions: %+v", a.Publish)
	}
}

func TestFind(t *testing.T) {
	p, err := NewPolicy([]Role{{Name: "modem", Who: []string{"uid:1001"}, May: []string{"state:read"}}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	for who, want := range map[string]string{"uid:1001": "role modem grants state:read", "user:root": "role admin grants admin", "uid:7": "no role names uid:7"} {
		i, err := p.Find(who)
		if rule := i.Explain("state:read").Rule; err != nil || !strings.Contains(rule, want) {
			t.Errorf("%s: %s, %v", who, rule, err)
		}
	}
	for _, who := range []string{"", "uid:x", "modem", "user:nobody-of-that-name"} {
		if _, err := p.Find(who); err == nil {
			t.Errorf("%q was found", who)
		}
	}
}

func BenchmarkOwnerOf(b *testing.B) {
	_, served := pair(b, "tcp4", "127.0.0.1:0")
	for b.Loop() {
		if _, err := OwnerOf(addr(served.RemoteAddr()), addr(served.LocalAddr())); err != nil {
			b.Fatal(err)
		}
	}
}

// reused gives a listener before which two connections from one port stand: the first was reset after it had sent
// something, the second has the port now. False when somebody else on this machine was given the port in between.
func reused(t *testing.T) (*net.TCPListener, bool) {
	t.Helper()
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	first, err := net.DialTCP("tcp4", nil, l.Addr().(*net.TCPAddr))
	if err != nil {
		t.Fatal(err)
	}
	port := first.LocalAddr().(*net.TCPAddr)
	if _, err := first.Write([]byte("mine")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(first.SetLinger(0), first.Close()); err != nil { // a reset
		t.Fatal(err)
	}
	second, err := net.DialTCP("tcp4", port, l.Addr().(*net.TCPAddr))
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, false
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = second.Close() })
	return l, true
}

// TestPeerOfReused has a connection reset that has not been accepted yet, and its port used by another one. What the
// first has sent can still be read, and the kernel tells of the second.
func TestPeerOfReused(t *testing.T) {
	l, ok := reused(t)
	for tries := 1; !ok; tries++ {
		if tries == 100 {
			t.Fatal("a hundred ports were each taken by others within microseconds")
		}
		l, ok = reused(t)
	}
	for i, want := range []bool{false, true} {
		served, err := l.AcceptTCP()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = served.Close() }()
		if _, err := OwnerOf(addr(served.RemoteAddr()), addr(served.LocalAddr())); err != nil {
			t.Errorf("connection %d: the kernel says %v", i+1, err)
		}
		if p, _, err := PeerOf(served); err == nil != want {
			t.Errorf("connection %d: %v, %v", i+1, p, err)
		}
	}
}
