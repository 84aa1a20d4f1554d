package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"
)

// masks are what differs from one run of the demo to the next.
var masks = []struct {
	what *regexp.Regexp
	mask string
}{
	{regexp.MustCompile(`(?m)^ *\d+\.\d\d s`), " 0.00 s"},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "127.0.0.1:4222"},
	{regexp.MustCompile(`process \d+`), "process 1"},
	// The chart: its bars and their lengths.
	{regexp.MustCompile(`boot \d+-[0-9a-f]+ of \d+-\d\d-\d\d \d\d:\d\d:\d\d`), "boot 1-000000 of 2026-01-01 00:00:00"},
	{regexp.MustCompile(`(OPERATIONAL after|held for|uplink|policy) [0-9.]+ m?s`), "$1 1 s"},
	{regexp.MustCompile(`(?m) +[0-9.]+ [µm]?s +[━·█▏][━·█▏ ]*`), "  1 s  ━  "},
	{regexp.MustCompile(`(?m) +$`), ""},
}

// masked gives a text of the demo as every run of it has it.
func masked(text string) string {
	for _, m := range masks {
		text = m.what.ReplaceAllString(text, m.mask)
	}
	return text
}

// story holds what the demo told against a file: story stdout want.txt.
func story(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: story stdout FILE")
	}
	if diff := cmp.Diff(masked(ts.ReadFile(args[1])), masked(ts.ReadFile(args[0]))); diff != "" {
		ts.Fatalf("the story has changed:\n%s", diff)
	}
}

// stagedDemo is a demo that runs, with its temporary folder below one of the test's.
type stagedDemo struct {
	cmd  *exec.Cmd
	tmp  string
	out  io.ReadCloser
	errs bytes.Buffer
	pids map[string]int // of the processes that it tells of
}

var startsProcess = regexp.MustCompile(`starts (?:the )?(\w+), process (\d+)`)

// stageDemo starts the demo and hears what it tells up to a line with that text.
func stageDemo(t *testing.T, until string) *stagedDemo {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	d := &stagedDemo{tmp: t.TempDir(), pids: map[string]int{}}
	d.cmd = exec.CommandContext(t.Context(), program)
	d.cmd.Args = []string{"muster", "demo"}
	d.cmd.Env = append(os.Environ(), "TMPDIR="+d.tmp)
	d.cmd.Stderr = &d.errs
	if d.out, err = d.cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d.pids["demo"] = d.cmd.Process.Pid
	for lines := bufio.NewScanner(d.out); lines.Scan(); {
		if found := startsProcess.FindStringSubmatch(lines.Text()); found != nil {
			d.pids[found[1]], _ = strconv.Atoi(found[2]) // digits
		}
		if strings.Contains(lines.Text(), until) {
			return d
		}
	}
	t.Fatalf("it ended before %q: %v\n%s", until, d.cmd.Wait(), d.errs.String())
	return nil
}

// TestDemoLeavesNothing ends the demo, or one of its processes, in the middle of the story and when it stays up.
func TestDemoLeavesNothing(t *testing.T) {
	// Under nohup SIGHUP is ignored, and whoever is started here would inherit that. What is caught is not inherited.
	hups := make(chan os.Signal, 1)
	signal.Notify(hups, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(hups) })
	const held, up = "no address yet", "until Ctrl-C"
	for name, c := range map[string]struct {
		until, whom string
		how         syscall.Signal
		code        int
		says        string // on standard error; "" means nothing
		folder      bool   // stays
	}{
		"interrupted while it tells":   {until: held, whom: "demo", how: syscall.SIGINT},
		"terminated while it tells":    {until: held, whom: "demo", how: syscall.SIGTERM},
		"terminal closed":              {until: held, whom: "demo", how: syscall.SIGHUP},
		"interrupted when it stays up": {until: up, whom: "demo", how: syscall.SIGINT},
		"told to end by the daemon":    {until: up, whom: "daemon", how: syscall.SIGTERM},
		"participant crashes":          {until: held, whom: "uplink", how: syscall.SIGKILL, code: 1, says: "uplink has ended by itself: signal: killed"},
		"daemon crashes":               {until: held, whom: "daemon", how: syscall.SIGKILL, code: 1, says: "daemon has ended by itself: signal: killed"},
		"killed":                       {until: up, whom: "demo", how: syscall.SIGKILL, code: -1, folder: true},
		"reader leaves":                {until: held, how: 0, code: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := stageDemo(t, c.until)
			if c.whom == "" {
				if err := d.out.Close(); err != nil {
					t.Fatal(err)
				}
			} else if err := syscall.Kill(d.pids[c.whom], c.how); err != nil {
				t.Fatal(err)
			}
			rest, _ := io.ReadAll(d.out) // it may be closed
			if err := d.cmd.Wait(); d.cmd.ProcessState.ExitCode() != c.code {
				t.Errorf("it ended with %v; exit code %d would be right\n%s", err, c.code, rest)
			}
			if got := d.errs.String(); !strings.Contains(got, c.says) || c.says == "" && got != "" {
				t.Errorf("it said %q; want %q", got, c.says)
			}
			for name, pid := range d.pids {
				eventually(t, name+" is gone", func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) })
			}
			if left, err := os.ReadDir(d.tmp); err != nil || len(left) > 0 != c.folder {
				t.Errorf("left behind: %v %v", left, err)
			}
		})
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick, late := time.NewTicker(2*time.Millisecond), time.After(patience)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}
