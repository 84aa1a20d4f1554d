//go:build users

package daemon

import (
	"bufio"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"muster/access"
	"muster/wire"
)

// natsClient is the folder with the unmodified client that takes part; "make users" fills and names it.
var natsClient = flag.String("client", "", "folder of attempt.mjs with its node_modules")

// TestUsers has an unmodified client of another language take part as two users of the device, over TCP and over the
// Unix socket, each of whom has a role and nothing else: no key, no password.
func TestUsers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("only root can start processes of other users: run this as root")
	}
	if *natsClient == "" {
		t.Fatal("name the folder of the client: -args -client=DIR; make users does")
	}
	open, err := os.MkdirTemp("", "muster-users-*") // where any user may look in
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(open) })
	if out, err := exec.CommandContext(t.Context(), "cp", "-r", *natsClient, open+"/client").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := exec.CommandContext(t.Context(), "chmod", "-R", "a+rX", open).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	may := func(name string) []string { return []string{access.Observer, "notifier:" + name} }
	r := start(t, t.TempDir(), func(c *Config) {
		c.Socket.Path = filepath.Join(open, "bus.sock")
		c.Roles = []access.Role{
			{Name: "modem", Who: []string{"uid:1001"}, May: may("modem")}, {Name: "backup", Who: []string{"uid:1002"}, May: may("backup")},
		}
	})
	admin := r.dial()
	await(t, admin, wire.Operational)
	const canary = "s3cret-c4nary"
	if code := ask(t, admin, "sys.api.blob.set.auth.0", `{"data":"czNjcmV0LWM0bmFyeQ=="}`, nil); code != "" {
		t.Fatal(code)
	}
	if code := ask(t, admin, "sys.api.blob.set.device-serial.0", `{"data":"U04tMDgxNQ=="}`, nil); code != "" {
		t.Fatal(code)
	}
	for _, c := range []struct{ uid, mine, others, address string }{
		{"1001", "modem", "backup", strings.TrimPrefix(r.URL, "nats://")},
		{"1002", "backup", "modem", strings.TrimPrefix(r.URL, "nats://")},
		{"1001", "modem", "backup", r.Socket},
		{"1002", "backup", "modem", r.Socket},
	} {
		t.Run(c.mine+" at "+filepath.Base(c.address), func(t *testing.T) {
			outcomes := attempts(t, r, open, c.uid, c.address, c.mine, c.others)
			for attempt, want := range map[string]string{
				"listen as my notifier":                    "ok",
				"register as my notifier":                  "ok",
				"resume as my notifier":                    "ok",
				"listen as another's notifier":             "ermissions",
				"register as another's notifier":           `403 {"code":403,"message":"uid:` + c.uid + ` lacks the right notifier:` + c.others,
				"resume as another's notifier":             "403",
				"hear the state":                           "ok",
				"forge a state event":                      "ermissions",
				"answer for the daemon":                    "ermissions",
				"hear everything":                          "ermissions",
				"hear other inboxes":                       "ok: 0 heard",
				"read a blob by the endpoint":              "ok",
				"read a secret by the endpoint":            "403",
				"read a blob by key-value":                 "ok: SN-0815",
				"read a secret by key-value":               "error",
				"read a secret by the stream's API":        "error",
				"read a secret by direct get":              "error",
				"read a secret by direct get of a pattern": "error",
				"read a secret by its number":              "error",
				"read a secret by a consumer":              "error",
				"write a blob by key-value":                "ermissions",
			} {
				if got := outcomes[attempt]; !strings.Contains(got, want) || strings.Contains(got, canary) || strings.Contains(got, "czNjcmV0") {
					t.Errorf("%s: %q, want %q", attempt, got, want)
				}
				delete(outcomes, attempt)
			}
			for attempt, outcome := range outcomes {
				t.Errorf("%s: %q, of which this test knows nothing", attempt, outcome)
			}
		})
	}
	for _, address := range []string{strings.TrimPrefix(r.URL, "nats://"), r.Socket} {
		t.Run("nobody at "+filepath.Base(address), func(t *testing.T) {
			out, err := participant(t, open, "1003", address, "modem", "backup").CombinedOutput()
			if err == nil || !strings.Contains(string(out), "uthorization") || strings.Contains(string(out), "attempt\"") {
				t.Errorf("a user without a role: %v, %s", err, out)
			}
		})
	}
	if lines := r.log.lines("connection refused", "uid:1003"); len(lines) == 0 {
		t.Error("the log does not name who was refused")
	}
	var part wire.BlobPart
	if ask(t, admin, "sys.api.blob.get.device-serial.0", `{}`, &part); string(part.Data) != "SN-0815" {
		t.Errorf("the blob is %q now", part.Data)
	}
	if v := state(t, admin); v.State != wire.Operational {
		t.Errorf("the state is %v now", v.State)
	}
}

// participant is the client as a process of a user.
func participant(t *testing.T, open, uid string, args ...string) *exec.Cmd {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatal("there is no node; as root: apt-get install nodejs")
	}
	cmd := exec.CommandContext(t.Context(), "setpriv", append([]string{
		"--reuid", uid, "--regid", uid, "--clear-groups", "--", node, "attempt.mjs",
	}, args...)...)
	cmd.Dir = open + "/client"
	return cmd
}

// attempts runs the client as a user, and gives what became of each attempt. While it listens to inboxes, the
// administrator is answered something.
func attempts(t *testing.T, r *running, open, uid string, args ...string) map[string]string {
	t.Helper()
	cmd := participant(t, open, uid, args...)
	cmd.Stderr = t.Output()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	outcomes := map[string]string{}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var line struct {
			Attempt, Outcome string
			Ready            bool
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		if line.Ready {
			nc := r.dial()
			ask(t, nc, "sys.api.blob.get.auth.0", `{}`, nil)
			nc.Close()
			if _, err := in.Write([]byte("\n")); err != nil {
				t.Fatal(err)
			}
			continue
		}
		outcomes[line.Attempt] = line.Outcome
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	return outcomes
}
