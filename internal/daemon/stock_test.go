//go:build stock

package daemon

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"muster/wire"
)

// natsCommand is the stock command line of NATS; "make stock" installs and names it.
var natsCommand = flag.String("nats", "", "path of the nats command")

// stock runs nats with its own configuration folder and gives what it prints.
type stock struct {
	t    *testing.T
	url  string
	home string
}

func (s stock) command(ctx context.Context, args ...string) *exec.Cmd {
	if *natsCommand == "" {
		s.t.Fatal("name the nats command: -args -nats=PATH; make stock does")
	}
	cmd := exec.CommandContext(ctx, *natsCommand, append([]string{"--server", s.url}, args...)...)
	cmd.Env = append(cmd.Environ(), "HOME="+s.home, "XDG_CONFIG_HOME="+filepath.Join(s.home, "config"))
	return cmd
}

func (s stock) run(args ...string) string {
	s.t.Helper()
	var out, errs bytes.Buffer
	cmd := s.command(s.t.Context(), args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		s.t.Fatalf("nats %s: %v\n%s%s", strings.Join(args, " "), err, out.String(), errs.String())
	}
	return out.String()
}

func (s stock) expect(want string, args ...string) {
	s.t.Helper()
	if got := s.run(args...); !strings.Contains(got, want) {
		s.t.Errorf("nats %s does not say %q:\n%s", strings.Join(args, " "), want, got)
	}
}

// TestStock takes part with nothing but the nats command.
func TestStock(t *testing.T) {
	r := start(t, t.TempDir())
	nc := r.dial()
	await(t, nc, wire.Operational)
	s := stock{t: t, url: r.URL, home: t.TempDir()}

	s.expect("muster", "micro", "ls")
	s.expect("sys.api.state.request", "micro", "info", "muster")
	s.expect("state-get", "micro", "stats", "muster")
	s.expect("SYS_EVENTS", "stream", "ls", "--all", "--names")
	s.expect(`"state":"OPERATIONAL"`, "req", "--raw", "sys.api.state.get", "", "-H", "Content-Type:application/json")
	s.run("kv", "put", "SYS_BLOBS", "device-serial.0", "SN-0815")
	s.expect("SN-0815", "kv", "get", "SYS_BLOBS", "device-serial.0", "--raw")
	s.expect("sys.state.OPERATIONAL", "sub", "--last-per-subject", "--count", "15", "sys.state.>")

	// A whole notifier: nats reply, registered with a request. Its requests are served one a line.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	reply := s.command(ctx, "reply", "sys.notify.backup", `{"answer":"accept"}`)
	out, err := reply.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	reply.Stderr = reply.Stdout
	if err := reply.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.Contains(lines.Text(), "Listening") {
		t.Log(lines.Text())
	}
	var joined wire.Joined
	for joined.Subject == "" { // until its subscription has reached the server
		ask(t, nc, "sys.api.notifier.register.backup", `{"format":"json"}`, &joined)
	}
	var outcome wire.StateOutcome
	ask(t, nc, "sys.api.state.request", `{"target":"AWAITING_MODAL_UPDATING","reason":"stock"}`, &outcome)
	if outcome.Outcome != wire.OutcomeReached {
		t.Errorf("outcome %+v", outcome)
	}
	var list wire.Notifiers
	if ask(t, nc, "sys.api.notifier.list", "", &list); len(list.Notifiers) != 1 || list.Notifiers[0].Accepted != 1 {
		t.Errorf("notifiers %+v", list)
	}
	cancel()
	_ = reply.Wait() // it is killed
}
