//go:build users && linux

package daemon

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"muster/internal/demote"
	"muster/wire"
)

// fallen is a daemon in a process of its own, which root has started.
type fallen struct {
	t     *testing.T
	dir   string
	cmd   *exec.Cmd
	lines chan string // of its log
	log   bytes.Buffer
}

// buildPlain builds the command without cgo, with which no thread can be told apart.
func buildPlain(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("only root can become another user: run this as root")
	}
	dir, err := os.MkdirTemp("", "muster-users-*") // where any user may look in
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, "muster"), "muster/cmd/muster")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

// startAsRoot starts a daemon with a configuration, behind the words of another command if there are any.
func startAsRoot(t *testing.T, dir, config string, before ...string) *fallen {
	t.Helper()
	file := filepath.Join(dir, "muster.toml")
	config = fmt.Sprintf("listen = \"127.0.0.1:0\"\ndir = %q\n", filepath.Join(dir, "state")) + config
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	words := slices.Concat(before, []string{filepath.Join(dir, "muster"), "run", "--config", file})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	f := &fallen{t: t, dir: dir, cmd: exec.CommandContext(ctx, words[0], words[1:]...), lines: make(chan string, 1000)}
	f.cmd.Cancel = func() error { return f.cmd.Process.Signal(syscall.SIGTERM) }
	f.cmd.WaitDelay = patience
	out, err := f.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := f.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(f.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			f.lines <- s.Text()
		}
	}()
	return f
}

// says waits until the log has a line with that text, and gives it.
func (f *fallen) says(text string) string {
	f.t.Helper()
	for line := range strings.Lines(f.log.String()) {
		if strings.Contains(line, text) {
			return line
		}
	}
	for line := range f.lines {
		f.log.WriteString(line + "\n")
		if strings.Contains(line, text) {
			return line
		}
	}
	f.t.Fatalf("the daemon ended without saying %q:\n%s", text, &f.log)
	return ""
}

// ends waits until the daemon has ended by itself or by our word, and gives the last of its log and how it ended.
func (f *fallen) ends(stop bool) (string, error) {
	f.t.Helper()
	if stop {
		if err := f.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			f.t.Error(err)
		}
	}
	for line := range f.lines {
		f.log.WriteString(line + "\n")
	}
	return f.log.String(), f.cmd.Wait()
}

// as runs the command as a user, "0" for root, and gives what it says.
func (f *fallen) as(uid string, args ...string) (string, error) {
	file, err := ReadRunFile(filepath.Join(f.dir, "state"))
	if err != nil {
		f.t.Fatal(err)
	}
	words := slices.Concat([]string{"--reuid", uid, "--regid", uid, "--clear-groups", filepath.Join(f.dir, "muster"), "--server", file.URL}, args)
	cmd := exec.CommandContext(f.t.Context(), "setpriv", words...)
	cmd.Stdin = strings.NewReader("SN-0815")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// comes takes part as a notifier that accepts everything, until the daemon ends.
func (f *fallen) comes(name string) {
	f.t.Helper()
	file, err := ReadRunFile(filepath.Join(f.dir, "state"))
	if err != nil {
		f.t.Fatal(err)
	}
	nc, err := nats.Connect(file.URL, nats.NoReconnect())
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(nc.Close)
	if _, err := nc.Subscribe("sys.notify."+name, func(m *nats.Msg) { _ = m.Respond([]byte(`{"answer":"accept"}`)) }); err != nil {
		f.t.Fatal(err)
	}
	if code := ask(f.t, nc, "sys.api.notifier.register."+name, `{"format":"json"}`, nil); code != "" {
		f.t.Fatalf("register: %s", code)
	}
}

// threads gives the lines of that name in the status of each thread of the daemon, without doubles.
func (f *fallen) threads(name string) (found []string) {
	f.t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", f.cmd.Process.Pid))
	if err != nil || len(files) == 0 {
		f.t.Fatalf("no threads: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue
		}
		if err != nil {
			f.t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if before, value, _ := strings.Cut(line, ":"); before == name {
				found = append(found, strings.Join(strings.Fields(value), " "))
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// are holds the lines of every thread against what they should be.
func (f *fallen) are(want map[string]string) {
	f.t.Helper()
	for name, value := range want {
		if got := f.threads(name); !slices.Equal(got, []string{value}) {
			f.t.Errorf("%s is %q in the threads, want %q", name, got, value)
		}
	}
}

// belongs holds everything below a folder against its owner.
func belongs(t *testing.T, dir string, uid uint32) {
	t.Helper()
	count := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		count++
		if is := info.Sys().(*syscall.Stat_t); is.Uid != uid {
			t.Errorf("%s belongs to %d, want %d", path, is.Uid, uid)
		}
		return nil
	})
	if err != nil || count < 8 {
		t.Errorf("%d files in %s, %v", count, dir, err)
	}
}

// caps writes a set as the kernel does, without what this process has not either.
func caps(t *testing.T, set demote.Set) string {
	t.Helper()
	has, err := demote.Held()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%016x", uint64(set&has))
}

// TestUsersDemotion starts daemons as root that become another user, and looks at them through the kernel's eyes.
func TestUsersDemotion(t *testing.T) {
	dir := buildPlain(t)
	key := filepath.Join(dir, "key") // root's alone
	if err := os.WriteFile(key, []byte(strings.Repeat("0123456789abcdef", 4)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	base := fmt.Sprintf("[store]\nkey_file = %q\n", key)

	// One that stays root leaves a folder that is root's.
	f := startAsRoot(t, dir, base)
	f.says("msg=ready")
	f.are(map[string]string{"Uid": "0 0 0 0", "NoNewPrivs": "0"})
	if log, err := f.ends(true); err != nil {
		t.Fatalf("%v: %s", err, log)
	}
	belongs(t, filepath.Join(dir, "state"), 0)

	// One that is held before the drop is root still, but makes its files as the user.
	late := "[[required]]\nname = \"late\"\nstates = [\"PRE_PRIV_DROP\"]\n"
	linux := "user = \"nobody\"\nplatform = \"linux\"\n"
	f = startAsRoot(t, dir, linux+base+late)
	f.says("msg=ready")
	f.are(map[string]string{"Uid": "0 0 0 65534", "Gid": "0 0 0 65534", "NoNewPrivs": "0"})
	belongs(t, filepath.Join(dir, "state"), 65534)
	f.comes("late")
	f.says("privileges dropped")
	if out, err := f.as("65534", "wait", "OPERATIONAL", "--timeout", "10s"); err != nil {
		t.Errorf("wait: %v: %s", err, out)
	}
	f.are(map[string]string{
		"Uid": "65534 65534 65534 65534", "Gid": "65534 65534 65534 65534", "Groups": "65534", "NoNewPrivs": "1",
		"CapInh": caps(t, 0), "CapPrm": caps(t, demote.SysBoot|demote.SysTime), "CapEff": caps(t, demote.SysBoot|demote.SysTime), "CapBnd": caps(t, demote.SysBoot|demote.SysTime), "CapAmb": caps(t, 0),
	})
	for uid, may := range map[string]bool{"0": true, "65534": true, "1001": false} {
		out, err := f.as(uid, "blob", "set", "device-serial")
		if (err == nil) != may {
			t.Errorf("a blob set by user %s: %v: %s", uid, err, out)
		}
	}
	if out, err := f.as("0", "op", "list"); err != nil || !strings.Contains(out, "set-clock") || !strings.Contains(out, "reboot") {
		t.Errorf("what it can do: %v: %s", err, out)
	}
	if log, err := f.ends(true); err != nil || strings.Contains(log, "permission denied") {
		t.Errorf("%v: %s", err, log)
	}
	belongs(t, filepath.Join(dir, "state"), 65534)

	// Again on the folder that is the user's now, with fewer ways down and a role that names a program.
	role := "[[role]]\nname = \"probe\"\nwho = [\"uid:1001\", \"exe:/usr/bin/probe\"]\nmay = [\"state:read\"]\n"
	f = startAsRoot(t, dir, linux+"reboot_by = [\"logind\"]\n"+base+role)
	if line := f.says("a role names a program"); !strings.Contains(line, "level=WARN") {
		t.Error(line)
	}
	if line := f.says("privileges dropped"); !strings.Contains(line, "kept=CAP_SYS_TIME") {
		t.Error(line)
	}
	f.says("msg=ready")
	f.are(map[string]string{"CapPrm": caps(t, demote.SysTime), "CapEff": caps(t, demote.SysTime), "CapBnd": caps(t, demote.SysTime)})
	if out, err := f.as("65534", "wait", "OPERATIONAL", "--timeout", "10s"); err != nil {
		t.Errorf("wait: %v: %s", err, out)
	}
	if log, err := f.ends(true); err != nil {
		t.Errorf("%v: %s", err, log)
	}

	// The simulation keeps nothing.
	f = startAsRoot(t, dir, "user = \"nobody\"\ngroup = \"daemon\"\n"+base)
	f.says("msg=ready")
	f.says("privileges dropped")
	f.are(map[string]string{"Gid": "1 1 1 1", "CapPrm": caps(t, 0), "CapEff": caps(t, 0), "CapBnd": caps(t, 0), "NoNewPrivs": "1"})
	if log, err := f.ends(true); err != nil {
		t.Errorf("%v: %s", err, log)
	}
}

// TestUsersDemotionScripts has a program asked before the drop be root, and one asked after it nothing but the user.
func TestUsersDemotionScripts(t *testing.T) {
	dir := buildPlain(t)
	out := filepath.Join(dir, "out")
	if err := os.Mkdir(out, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(out, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "scripts"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, state := range []string{"PRE_PRIV_DROP", "INITIALIZED"} {
		script := "#!/bin/sh\nset -e\nfile=" + out + "/" + state + "\n" +
			"grep -E '^(Uid|CapEff|CapBnd|NoNewPrivs):' /proc/self/status | tr -s '\\t' ' ' > $file.new\nmv $file.new $file\n"
		if err := os.WriteFile(filepath.Join(dir, "scripts", "00-look-"+strings.ToLower(state)+"."+state), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	f := startAsRoot(t, dir, fmt.Sprintf("user = \"nobody\"\nplatform = \"linux\"\n[scripts]\ndir = %q\n", filepath.Join(dir, "scripts")))
	f.says("msg=ready")
	if text, err := f.as("65534", "wait", "OPERATIONAL", "--timeout", "10s"); err != nil {
		t.Errorf("wait: %v: %s", err, text)
	}
	keep := demote.SysTime | demote.SysBoot
	for state, want := range map[string]string{
		"PRE_PRIV_DROP": "Uid: 0 0 0 0\nCapEff: " + caps(t, ^demote.Set(0)) + "\nCapBnd: " + caps(t, ^demote.Set(0)) + "\nNoNewPrivs: 0\n",
		"INITIALIZED":   "Uid: 65534 65534 65534 65534\nCapEff: " + caps(t, 0) + "\nCapBnd: " + caps(t, keep) + "\nNoNewPrivs: 1\n",
	} {
		if got, err := os.ReadFile(filepath.Join(out, state)); err != nil || string(got) != want {
			t.Errorf("before %s a program is\n%s(%v), want\n%s", state, got, err, want)
		}
	}
	if log, err := f.ends(true); err != nil {
		t.Errorf("%v: %s", err, log)
	}
}

// TestUsersDemotionRefused has daemons that cannot become another user say so, and not go on.
func TestUsersDemotionRefused(t *testing.T) {
	dir := buildPlain(t)
	const user = "user = \"nobody\"\n"

	// Without CAP_SETPCAP what programs may get cannot be given up.
	crippled := []string{"setpriv", "--bounding-set", "-setpcap"}
	f := startAsRoot(t, dir, user, crippled...)
	f.says("privileges not dropped")
	f.says("msg=ready")
	out, err := f.as("0", "status", "-o", "json")
	var view wire.StateView
	if err != nil || json.Unmarshal([]byte(out), &view) != nil {
		t.Fatalf("status: %v: %s", err, out)
	}
	if view.State != wire.PrePrivDrop || view.Transition == nil || len(view.Transition.Holders) != 1 ||
		!strings.HasPrefix(view.Transition.Holders[0].Reason, "the daemon is still more than the user nobody: give up capability") {
		t.Errorf("it is %s", out)
	}
	if log, err := f.ends(true); err != nil {
		t.Errorf("%v: %s", err, log)
	}

	// A limit does not lead past it.
	f = startAsRoot(t, dir, user+"[hold.INITIALIZED]\nlimit = \"10ms\"\non_limit = \"proceed\"\n", crippled...)
	log, err := f.ends(false)
	if err == nil || !strings.Contains(log, "INITIALIZED is entered, and the daemon is not the user nobody yet; it does not go on as root") {
		t.Errorf("%v: %s", err, log)
	}

	// Who is not root cannot become another.
	f = startAsRoot(t, dir, user, "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
	log, err = f.ends(false)
	if want := `user is "nobody", and the daemon is started as user ` + strconv.Itoa(65534) + ", who cannot become another; started as root, or without user"; err == nil || !strings.Contains(log, want) {
		t.Errorf("%v: %s", err, log)
	}

	// A folder that the user cannot reach is of no use to him.
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	f = startAsRoot(t, dir, user)
	log, err = f.ends(false)
	if err == nil || !strings.Contains(log, "which the user nobody cannot reach: ") {
		t.Errorf("%v: %s", err, log)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}

	// What the user may have laid into the folder does not lead root elsewhere.
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "state/known/trap")); err != nil {
		t.Fatal(err)
	}
	f = startAsRoot(t, dir, user)
	log, err = f.ends(false)
	if err == nil || !strings.Contains(log, "known/trap is a symbolic link; only plain files and folders would be right") {
		t.Errorf("%v: %s", err, log)
	}
}
