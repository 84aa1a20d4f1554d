//go:build logind

package daemon

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/nats-io/nats.go"

	"muster/system/linux"
	"muster/wire"
)

// logind is python3-dbusmock's, on a D-Bus of the test's own.
type logind struct {
	t       *testing.T
	conn    *dbus.Conn
	object  dbus.BusObject
	signals chan *dbus.Signal
	stop    func() // has it go
}

const (
	logindName    = "org.freedesktop.login1"
	logindManager = "org.freedesktop.login1.Manager"
	mockInterface = "org.freedesktop.DBus.Mock"
)

const busConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><listen>unix:path=%s</listen><auth>EXTERNAL</auth><policy context="default">
<allow user="*"/><allow own="*"/><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>
</policy></busconfig>`

// playLogind starts a D-Bus and a logind on it, and has whoever looks for the system's bus in this process find that.
func playLogind(t *testing.T) *logind {
	t.Helper()
	dir := t.TempDir()
	socket, file := filepath.Join(dir, "bus"), filepath.Join(dir, "bus.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, busConfig, socket), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+socket)
	address := spawn(t, "dbus", "dbus-daemon", "--nofork", "--print-address", "--config-file="+file)
	if _, err := bufio.NewReader(address).ReadString('\n'); err != nil {
		t.Fatalf("dbus-daemon does not say where it is: %v", err)
	}
	conn, err := dbus.ConnectSystemBus(dbus.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // the bus may be gone
	l := &logind{t: t, conn: conn, object: conn.Object(logindName, "/org/freedesktop/login1"), signals: make(chan *dbus.Signal, 256)}
	conn.Signal(l.signals)
	l.match(dbus.WithMatchInterface("org.freedesktop.DBus"), dbus.WithMatchMember("NameOwnerChanged"))
	l.match(dbus.WithMatchInterface(mockInterface), dbus.WithMatchMember("MethodCalled"))
	if out, err := exec.CommandContext(t.Context(), "/usr/bin/python3", "-c", "import dbusmock").CombinedOutput(); err != nil {
		t.Fatalf("no dbusmock; as root: apt-get install python3-dbusmock\n%s", out)
	}
	l.start()
	l.method("Halt", "b", "", "")
	return l
}

// start has a logind come.
func (l *logind) start() {
	l.t.Helper()
	_, l.stop = spawned(l.t, "python3-dbusmock", "/usr/bin/python3", "-m", "dbusmock", "--system", "--template", "logind")
	l.await("NameOwnerChanged", logindName)
}

// spawn starts a program that ends with the test.
func spawn(t *testing.T, pack, name string, args ...string) io.Reader {
	t.Helper()
	out, _ := spawned(t, pack, name, args...)
	return out
}

// spawned is spawn, and gives what ends the program before.
func spawned(t *testing.T, pack, name string, args ...string) (out io.Reader, stop func()) {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), name, args...)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatalf("%v; as root: apt-get install %s", err, pack)
	}
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	t.Cleanup(stop)
	return out, stop
}

func (l *logind) match(options ...dbus.MatchOption) {
	l.t.Helper()
	if err := l.conn.AddMatchSignal(options...); err != nil {
		l.t.Fatal(err)
	}
}

// await waits for a signal whose first word is that.
func (l *logind) await(member, word string) {
	l.t.Helper()
	over := time.After(patience)
	for {
		select {
		case s := <-l.signals:
			if strings.HasSuffix(s.Name, "."+member) && len(s.Body) > 0 && s.Body[0] == word {
				return
			}
		case <-over:
			l.t.Fatalf("no %s of %s within %v", member, word, patience)
		}
	}
}

func (l *logind) call(method string, args ...any) *dbus.Call {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(l.t.Context(), patience)
	defer cancel()
	c := l.object.CallWithContext(ctx, method, 0, args...)
	if c.Err != nil {
		l.t.Fatalf("%s: %v", method, c.Err)
	}
	return c
}

// method has logind do something else.
func (l *logind) method(name, in, out, code string) {
	l.t.Helper()
	l.call(mockInterface+".AddMethod", logindManager, name, in, out, code)
}

// says sends what logind tells everybody when the device is about to go down, or is not any more.
func (l *logind) says(down bool) {
	l.t.Helper()
	l.call(mockInterface+".EmitSignal", logindManager, "PrepareForShutdown", "b", []any{down})
}

// lock is one as logind lists it.
type lock struct {
	What, Who, Why, Mode string
	UID, PID             uint32
}

func (l *logind) locks() (locks []lock) {
	l.t.Helper()
	if err := l.call(logindManager + ".ListInhibitors").Store(&locks); err != nil {
		l.t.Fatal(err)
	}
	return locks
}

// awaitLocks asks until the locks are those, each as "who mode".
func (l *logind) awaitLocks(want ...string) {
	l.t.Helper()
	for began := time.Now(); ; {
		var got []string
		for _, lock := range l.locks() {
			got = append(got, lock.Who+" "+lock.Mode)
		}
		if slices.Equal(got, want) {
			return
		}
		if time.Since(began) > patience {
			l.t.Fatalf("the locks are %q, want %q", got, want)
		}
	}
}

// asked lists how the device was asked to go down.
func (l *logind) asked() (modes []string) {
	l.t.Helper()
	var calls []struct {
		At     uint64
		Method string
		Args   []dbus.Variant
	}
	if err := l.call(mockInterface + ".GetCalls").Store(&calls); err != nil {
		l.t.Fatal(err)
	}
	for _, c := range calls {
		if slices.Contains([]string{"Reboot", "Halt", "PowerOff"}, c.Method) {
			modes = append(modes, c.Method)
		}
	}
	return modes
}

// bare is a kernel that lets nobody do anything.
type bare struct{}

func (bare) May(int) bool                 { return false }
func (bare) Step(time.Time) error         { return errors.ErrUnsupported }
func (bare) Slew(time.Duration) error     { return errors.ErrUnsupported }
func (bare) GoDown(wire.RebootMode) error { return errors.ErrUnsupported }

// device is a daemon on a device whose logind is played.
func device(t *testing.T, log io.Writer) *running {
	t.Helper()
	leave := make(chan struct{})
	close(leave) // as systemd does at once when logind has been asked
	return startWith(t, t.TempDir(), Options{Platform: linux.New(linux.Options{
		Kernel: bare{}, Ways: []linux.Way{linux.Logind{}}, Sys: fstest.MapFS{}, Leave: leave, Log: slog.New(slog.NewTextHandler(log, nil)),
	})})
}

// upload registers a notifier that holds the end.
func upload(t *testing.T, nc *nats.Conn) {
	t.Helper()
	if _, err := nc.Subscribe("sys.notify.upload", func(m *nats.Msg) {
		_ = m.Respond([]byte(`{"answer":"defer","reason":"the upload runs"}`))
	}); err != nil {
		t.Fatal(err)
	}
	if code := ask(t, nc, "sys.api.notifier.register.upload", `{"states":["CONTEXT_DESTROYING"],"format":"json"}`, nil); code != "" {
		t.Fatalf("register: %s", code)
	}
}

// awaitHeld waits until somebody holds the end.
func awaitHeld(t *testing.T, nc *nats.Conn, transitions *nats.Subscription) {
	t.Helper()
	for {
		if v := state(t, nc).Transition; v != nil && v.To == wire.ContextDestroying && v.Kind == wire.KindHeld {
			return
		}
		if _, err := transitions.NextMsg(patience); err != nil {
			t.Fatalf("nobody holds the end: %v", err)
		}
	}
}

// TestLogindHolds has a reboot by others wait for a notifier, and go on when that resumes.
func TestLogindHolds(t *testing.T) {
	l := playLogind(t)
	r := device(t, io.Discard)
	nc := r.dial()
	l.awaitLocks("muster delay")
	if lock := l.locks()[0]; lock.What != "shutdown" {
		t.Errorf("the lock is on %q", lock.What)
	}
	await(t, nc, wire.Operational)
	upload(t, nc)
	held, err := nc.SubscribeSync("sys.transition")
	if err != nil || nc.Flush() != nil {
		t.Fatal(err)
	}
	l.says(true)
	awaitHeld(t, nc, held)
	l.awaitLocks("muster delay")

	l.says(false)
	for state(t, nc).Transition != nil {
		if _, err := held.NextMsg(patience); err != nil {
			t.Fatalf("the end is not called off: %v", err)
		}
	}

	l.says(true)
	awaitHeld(t, nc, held)
	if code := ask(t, nc, "sys.api.notifier.unregister.upload", "{}", nil); code != "" {
		t.Fatalf("unregister: %s", code)
	}
	if err := r.wait(); err != nil {
		t.Error(err)
	}
	l.awaitLocks()
	if got := l.asked(); len(got) > 0 {
		t.Errorf("logind, which goes down by itself, was asked for %v", got)
	}
}

// TestLogindJoins has somebody ask for the reboot first: it goes on when logind, which was to go down too, does not.
func TestLogindJoins(t *testing.T) {
	l := playLogind(t)
	r := device(t, io.Discard)
	nc := r.dial()
	l.awaitLocks("muster delay")
	await(t, nc, wire.Operational)
	upload(t, nc)
	var outcome wire.StateOutcome
	if code := ask(t, nc, "sys.api.op.reboot", `{"reason":"test"}`, &outcome); code != "" || outcome.Outcome != wire.OutcomeHeld {
		t.Fatalf("reboot: %s %+v", code, outcome)
	}
	l.says(true)
	r.log.await(t, "the device is to go down")
	l.says(false)
	r.log.await(t, "is taken back", "aborted=false")
	if v := state(t, nc).Transition; v == nil || v.ID != outcome.ID {
		t.Errorf("under way is %+v, want %s", v, outcome.ID)
	}
	if code := ask(t, nc, "sys.api.notifier.unregister.upload", "{}", nil); code != "" {
		t.Fatalf("unregister: %s", code)
	}
	if err := r.wait(); err != nil {
		t.Error(err)
	}
	if got := l.asked(); !slices.Equal(got, []string{"Reboot"}) {
		t.Errorf("logind was asked for %v, want the reboot", got)
	}
}

// TestLogindReboots goes down by logind, with its own lock given back before.
func TestLogindReboots(t *testing.T) {
	for mode, method := range map[wire.RebootMode]string{wire.ModeReboot: "Reboot", wire.ModeHalt: "Halt", wire.ModePoweroff: "PowerOff"} {
		t.Run(string(mode), func(t *testing.T) {
			l := playLogind(t)
			r := device(t, io.Discard)
			l.awaitLocks("muster delay")
			nc := r.dial()
			await(t, nc, wire.Operational)
			var ops wire.Ops
			if ask(t, nc, "sys.api.op.list", "", &ops); !slices.Equal(ops.Ops, []string{"reboot"}) {
				t.Errorf("it can %v", ops.Ops)
			}
			if code := ask(t, nc, "sys.api.op.set-clock", fmt.Sprintf(`{"at_us":%d,"source":"test"}`, time.Now().UnixMicro()), nil); code == "" {
				t.Error("a clock was set that cannot be")
			}
			if code := ask(t, nc, "sys.api.op.reboot", fmt.Sprintf(`{"reason":"test","mode":%q}`, mode), nil); code != "" {
				t.Errorf("reboot: %s", code)
			}
			if err := r.wait(); err != nil {
				t.Error(err)
			}
			if got := l.asked(); !slices.Equal(got, []string{method}) {
				t.Errorf("logind was asked for %v, want %s", got, method)
			}
			l.awaitLocks()
		})
	}
}

// TestLogindRefuses is told that somebody else keeps the device up: before it asks its notifiers, and at the end too.
func TestLogindRefuses(t *testing.T) {
	l := playLogind(t)
	log := &logged{}
	r := device(t, log)
	l.awaitLocks("muster delay")
	nc := r.dial()
	await(t, nc, wire.Operational)
	var fd dbus.UnixFD
	if err := l.call(logindManager+".Inhibit", "shutdown:sleep", "apt", "installs a kernel", "block").Store(&fd); err != nil {
		t.Fatal(err)
	}
	foreign := os.NewFile(uintptr(fd), "lock")
	t.Cleanup(func() { _ = foreign.Close() })
	l.method("CanReboot", "", "s", `ret = "challenge"`)
	l.method("Reboot", "b", "", `raise dbus.exceptions.DBusException("inhibited", name="org.freedesktop.DBus.Error.AccessDenied")`)
	var refusal wire.Error
	if code := ask(t, nc, "sys.api.op.reboot", `{"reason":"test"}`, &refusal); code != "423" || !strings.Contains(refusal.Message, "apt (installs a kernel") {
		t.Errorf("refused with %s: %s", code, refusal.Message)
	}
	if now := state(t, nc).State; now != wire.Operational {
		t.Errorf("the state is %s", now)
	}
	l.method("CanReboot", "", "s", `ret = "yes"`) // and then it is not so
	if code := ask(t, nc, "sys.api.op.reboot", `{"reason":"test"}`, nil); code != "" {
		t.Errorf("reboot: %s", code)
	}
	if err := r.wait(); err == nil || !strings.Contains(err.Error(), "reboot: logind: the device is kept up by apt (installs a kernel") {
		t.Errorf("the daemon ended with %v", err)
	}
	if len(log.lines("way down failed", "by=logind")) != 1 {
		t.Error("the refusal is not in the log")
	}
}

// names lists who is on the bus.
func (l *logind) names() (names []string) {
	l.t.Helper()
	if err := l.conn.BusObject().CallWithContext(l.t.Context(), "org.freedesktop.DBus.ListNames", 0).Store(&names); err != nil {
		l.t.Fatal(err)
	}
	return names
}

// forge sends one connection what logind would send, but from the test's own.
func (l *logind) forge(to string, down bool) {
	l.t.Helper()
	signal := &dbus.Message{Type: dbus.TypeSignal, Body: []any{down}, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldDestination: dbus.MakeVariant(to),
		dbus.FieldPath:        dbus.MakeVariant(dbus.ObjectPath("/org/freedesktop/login1")),
		dbus.FieldInterface:   dbus.MakeVariant(logindManager),
		dbus.FieldMember:      dbus.MakeVariant("PrepareForShutdown"),
		dbus.FieldSignature:   dbus.MakeVariant(dbus.SignatureOf(down)),
	}}
	if sent := l.conn.Send(signal, nil); sent.Err != nil {
		l.t.Fatal(sent.Err)
	}
}

// TestLogindForged is not taken in by somebody else who says that the device goes down.
func TestLogindForged(t *testing.T) {
	l := playLogind(t)
	session, err := linux.Logind{}.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	if err := l.conn.Emit("/org/freedesktop/login1", logindManager+".PrepareForShutdown", true); err != nil {
		t.Fatal(err)
	}
	l.says(false)
	if down, open := <-session.Downs(); !open || down {
		t.Errorf("heard down=%v, open=%v; want logind's own word", down, open)
	}
}

// TestLogindFlood has somebody else send more than anybody reads: it is dropped, and logind's last word is still heard.
func TestLogindFlood(t *testing.T) {
	l := playLogind(t)
	log := &logged{}
	others := l.names()
	session, err := linux.Logind{Log: slog.New(slog.NewTextHandler(log, nil))}.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	own := slices.DeleteFunc(l.names(), func(name string) bool { return slices.Contains(others, name) })
	if len(own) != 1 {
		t.Fatalf("%q came to the bus, want one", own)
	}
	before := runtime.NumGoroutine()
	const many = 2000
	l.says(true) // and nobody takes it
	for range many {
		l.forge(own[0], true)
	}
	l.says(false)
	lock, err := session.Inhibit(t.Context(), "delay", "the answer comes after everything that was sent before")
	if err != nil {
		t.Fatal(err)
	}
	if n := runtime.NumGoroutine() - before; n > many/100 {
		t.Errorf("%d goroutines more after %d signals that are not logind's", n, many)
	}
	if down, open := <-session.Downs(); !open || down {
		t.Errorf("heard down=%v, open=%v; want logind's last word", down, open)
	}
	if err := errors.Join(lock.Close(), session.Close()); err != nil {
		t.Error(err)
	}
	if _, open := <-session.Downs(); open {
		t.Error("heard one more word")
	}
	if len(log.lines("a signal that is not logind's is dropped")) != 1 || len(log.lines("were dropped", "count=2000")) != 1 {
		t.Errorf("what was dropped is not in the log, once and with its number: %q", log.lines())
	}
}

// TestLogindRestarted has logind go and another one come, which is believed in its place.
func TestLogindRestarted(t *testing.T) {
	l := playLogind(t)
	session, err := linux.Logind{}.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	l.says(false)
	if down, open := <-session.Downs(); !open || down {
		t.Errorf("heard down=%v, open=%v of the first", down, open)
	}
	l.stop()
	l.await("NameOwnerChanged", logindName)
	l.start()
	l.says(true)
	if down, open := <-session.Downs(); !open || !down {
		t.Errorf("heard down=%v, open=%v of the second", down, open)
	}
}

// TestLogindGone says what is missing where nobody is.
func TestLogindGone(t *testing.T) {
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+filepath.Join(t.TempDir(), "none"))
	for what, err := range map[string]error{
		"can": linux.Logind{}.Can(t.Context()), "go down": linux.Logind{}.GoDown(t.Context(), wire.ModeReboot),
	} {
		if err == nil || !strings.Contains(err.Error(), "connect to D-Bus") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
