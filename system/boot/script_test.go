package boot

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/wire"
)

// scripted boots a machine with a folder of played scripts.
func scripted(t *testing.T, programs *played, files map[string]string) *rig {
	t.Helper()
	scripts, _, err := Scripts(folder(t, files), ScriptOptions{Runner: programs, Env: []string{"MUSTER_DIR=/var/lib/muster"}})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t)
	var parts []Part
	for _, s := range scripts {
		parts = append(parts, s)
	}
	r.boot(parts...)
	return r
}

func TestScriptAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		programs := &played{runs: map[string]run{
			"20-modem.DHCP": exits(21, "\x1b[1mno signal\nno SIM\n\n"), "10-first.DHCP": exits(0, "fine"),
		}}
		r := scripted(t, programs, map[string]string{"20-modem.DHCP": "", "10-first.DHCP": ""})
		r.wantStands("IFACE_COLDPLUG; modem: [1mno signal / no SIM")
		if want := []string{"10-first.DHCP DHCP IFACE_COLDPLUG", "20-modem.DHCP DHCP IFACE_COLDPLUG"}; !slices.Equal(programs.ran, want) {
			t.Errorf("ran %q, want %q", programs.ran, want)
		}
		for _, want := range []string{
			"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "MUSTER_DIR=/var/lib/muster",
			"MUSTER_FROM=IFACE_COLDPLUG", "MUSTER_TO=DHCP", "MUSTER_GOAL=OPERATIONAL", "MUSTER_REASON=boot", "MUSTER_ROUND=1",
		} {
			if !slices.Contains(programs.env[0], want) {
				t.Errorf("its environment is %q, without %s", programs.env[0], want)
			}
		}
		programs.play("20-modem.DHCP", exits(0, ""))
		r.after(9 * time.Second)
		r.wantStands("IFACE_COLDPLUG; modem: [1mno signal / no SIM")
		r.after(time.Second)
		r.wantStands("OPERATIONAL")
	})
}

// TestScriptFaults plays every way in which a script can be of no use: it holds, says why, and is asked again.
func TestScriptFaults(t *testing.T) {
	refused := func(context.Context, Program) (Exit, error) {
		return Exit{}, errors.New("/etc/x may be written by others (mode 0777); 0755 would be right")
	}
	for name, c := range map[string]struct {
		do     run
		held   time.Duration // until the hold is there
		want   string
		before time.Duration // it is asked again
	}{
		"error":  {exits(1, "a\nb\nc\nno device /dev/ttyUSB2\n"), 0, "it failed, exit status 1: b / c / no device /dev/ttyUSB2", time.Second},
		"silent": {exits(21, ""), 0, "it defers (exit status 21) and does not say why", 10 * time.Second},
		"slow":   {hangs("dialing\n"), 30 * time.Second, "no answer within 30s, so it was killed: dialing", time.Second},
		"gone": {
			func(context.Context, Program) (Exit, error) {
				return Exit{}, &os.PathError{Op: "lstat", Path: "/etc/x", Err: os.ErrNotExist}
			},
			0, "it was not run: lstat /etc/x: file does not exist", time.Second,
		},
		"refused": {refused, 0, "it was not run: /etc/x may be written by others (mode 0777); 0755 would be right", time.Second},
		"binary":  {exits(2, "\xff\xfe\x00"), 0, "it failed, exit status 2: ?", time.Second},
		"loud": {
			exits(2, strings.Repeat("é", 4000)), 0,
			"it failed, exit status 2: …" + strings.Repeat("é", 160), time.Second,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				programs := &played{runs: map[string]run{"10-x.DHCP": c.do}}
				r := scripted(t, programs, map[string]string{"10-x.DHCP": ""})
				r.after(c.held)
				r.wantStands("IFACE_COLDPLUG; x: " + c.want)
				programs.play("10-x.DHCP", exits(0, ""))
				r.after(c.before)
				r.wantStands("OPERATIONAL")
			})
		})
	}
}

// TestScriptFlaps has a script that fails again and again: it is asked less and less often, until it accepts.
func TestScriptFlaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		programs := &played{runs: map[string]run{"10-x.DHCP": exits(1, "")}}
		r := scripted(t, programs, map[string]string{"10-x.DHCP": ""})
		r.after(10 * time.Minute)
		if n := len(programs.ran); n < 10 || n > 16 { // 1+2+4+8+16+32 s, then each minute
			t.Errorf("asked %d times in ten minutes, want 10 to 16", n)
		}
		programs.play("10-x.DHCP", exits(0, ""))
		r.after(time.Minute)
		r.wantStands("OPERATIONAL")
	})
}

// TestScriptDryRuns asks a script that fails, and fails only then, what it would say: when it is asked again is as if nobody had.
func TestScriptDryRuns(t *testing.T) {
	code := 1
	scripts, _, err := Scripts(folder(t, map[string]string{"10-x": ""}), ScriptOptions{
		Runner: &played{runs: map[string]run{"10-x": func(ctx context.Context, p Program) (Exit, error) { return exits(code, "")(ctx, p) }}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ask := scripts[0].Notifier().Ask
	for i, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
		for code = range 2 { // accepts, then fails
			ask(t.Context(), wire.Question{To: wire.DHCP, DryRun: true})
		}
		code = 1
		if a := ask(t.Context(), wire.Question{To: wire.DHCP}); a.Retry != wire.InMicros(want) {
			t.Errorf("after failure %d it is asked again after %v; want %v", i+1, a.Retry.Duration(), want)
		}
	}
}

// TestScriptEnds stops everything while a script hangs: nothing of it is left.
func TestScriptEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		scripts, _, err := Scripts(folder(t, map[string]string{"10-x": ""}),
			ScriptOptions{Runner: &played{runs: map[string]run{"10-x": hangs("")}}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended, answers := make(chan error), make(chan wire.Answer)
		go func() { ended <- scripts[0].Run(ctx) }()
		go func() { answers <- scripts[0].Notifier().Ask(t.Context(), wire.Question{To: wire.DHCP}) }()
		synctest.Wait()
		stop()
		if a := <-answers; a.Answer != wire.Defer {
			t.Errorf("the killed script answered %+v", a)
		}
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		want := wire.Answer{Answer: wire.Defer, Reason: "the daemon stops"}
		if a := scripts[0].Notifier().Ask(t.Context(), wire.Question{To: wire.DHCP}); a != want {
			t.Errorf("asked after the end it answered %+v, want %+v", a, want)
		}
	})
}

func TestScriptsOfAFolder(t *testing.T) {
	dir := folder(t, map[string]string{
		"20-modem":                 "#!/bin/sh\n# muster-about: asks the modem\n# muster-states: DHCP, TIME_VALID\nexit 0\n",
		"10-disk.OPERATIONAL+DHCP": "#!/bin/sh\n# muster-about: looks at the disk\n",
		"90-all":                   "\x7fELF",
		"README":                   "what this is", "20-modem~": "", ".10-x.swp": "",
	})
	scripts, ignored, err := Scripts(dir, ScriptOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range scripts {
		n := s.Notifier()
		got = append(got, strings.TrimSpace(strings.Join([]string{n.Name, strings.Join(names(n.States), ","), strings.TrimPrefix(n.About, dir)}, " ")))
		if n.Timeout != 32*time.Second {
			t.Errorf("%s has %v for its answer, want 32s", n.Name, n.Timeout)
		}
	}
	want := []string{"disk OPERATIONAL,DHCP looks at the disk", "modem DHCP,TIME_VALID asks the modem", "all  /90-all"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("scripts (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{".10-x.swp", "20-modem~", "README"}, ignored); diff != "" {
		t.Errorf("ignored (-want +got):\n%s", diff)
	}
}

func names(states []wire.State) (names []string) {
	for _, s := range states {
		names = append(names, s.String())
	}
	return names
}

// TestScriptsRefused has every fault of a folder that keeps the daemon from starting, with what is said of it.
func TestScriptsRefused(t *testing.T) {
	for want, files := range map[string]map[string]string{
		"10-a.DHPC: \"DHPC\" is not a state; the nearest is DHCP":                       {"10-a.DHPC": ""},
		"10-a b: its name cannot be read; NN-name or NN-name.STATE would be right":      {"10-a b": ""},
		"20-a are both named a; one name, one script":                                   {"10-a": "", "20-a": ""},
		"10-a: muster-state stands in its head; did you mean muster-states?":            {"10-a": "# muster-state: DHCP"},
		"10-a.DHCP: its states stand in its name and in its head; one of them would be": {"10-a.DHCP": "#!/bin/sh\n# muster-states: DHCP"},
		"10-a: UNKNOWN is no state that anything moves to":                              {"10-a": "# muster-states: UNKNOWN"},
	} {
		_, _, err := Scripts(folder(t, files), ScriptOptions{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: the error is %v, want %s", files, err, want)
		}
	}
	open := folder(t, nil)
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{
		open:                            open + " may be written by others (mode 0777); 0755 would be right",
		filepath.Join(open, "none"):     "no such file or directory",
		"notifiers.d":                   "notifiers.d is not an absolute path",
		filepath.Join("/dev", "stdout"): "/dev/stdout is not a plain file (L---------)",
	} {
		if _, _, err := Scripts(dir, ScriptOptions{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: the error is %v, want %s", dir, err, want)
		}
	}
}
