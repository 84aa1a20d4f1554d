package linux

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"muster/system"
	"muster/wire"
)

// board is a kernel that only notes what it is told.
type board struct {
	may  []int // its capabilities
	err  error // of every call
	told []string
}

func (b *board) May(capability int) bool { return slices.Contains(b.may, capability) }

func (b *board) Step(to time.Time) error {
	b.told = append(b.told, "step to "+to.UTC().Format(time.RFC3339))
	return b.err
}

func (b *board) Slew(by time.Duration) error {
	b.told = append(b.told, "slew by "+by.Round(50*time.Millisecond).String())
	return b.err
}

func (b *board) GoDown(mode wire.RebootMode) error {
	b.told = append(b.told, string(mode))
	return b.err
}

// road is a way down that does as the test says.
type road struct {
	name        string
	closed, err error
	stuck       bool // until its time is over
	taken       []wire.RebootMode
}

func (r *road) Name() string { return r.name }

func (r *road) Can(context.Context) error { return r.closed }

func (r *road) GoDown(ctx context.Context, mode wire.RebootMode) error {
	r.taken = append(r.taken, mode)
	if r.stuck {
		<-ctx.Done()
		return ctx.Err()
	}
	return r.err
}

func TestSetClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		for name, c := range map[string]struct {
			to   time.Time
			err  error
			told string
			want string // in the error
		}{
			"far on":     {to: now.Add(time.Hour), told: "step to 2000-01-01T01:00:00Z"},
			"far back":   {to: now.Add(-time.Hour), told: "step to 1999-12-31T23:00:00Z"},
			"nearly":     {to: now.Add(499 * time.Millisecond), told: "slew by 500ms"},
			"half":       {to: now.Add(500 * time.Millisecond), told: "step to 2000-01-01T00:00:00Z"},
			"back a bit": {to: now.Add(-100 * time.Millisecond), told: "slew by -100ms"},
			"no right":   {to: now.Add(time.Hour), err: fs.ErrPermission, told: "step to 2000-01-01T01:00:00Z", want: "needs the capability CAP_SYS_TIME"},
			"not a time": {to: now.Add(time.Hour), err: errors.New("invalid argument"), told: "step to 2000-01-01T01:00:00Z", want: "step the clock by 1h0m0s: invalid argument"},
		} {
			b := &board{err: c.err}
			err := New(Options{Kernel: b}).SetClock(wire.At(c.to))
			if got := strings.Join(b.told, ", "); got != c.told {
				t.Errorf("%s: the kernel was told %q, want %q", name, got, c.told)
			}
			if got := fmt.Sprint(err); c.want == "" && err != nil || !strings.Contains(got, c.want) {
				t.Errorf("%s: error %v, want %q", name, err, c.want)
			}
			if denied := errors.Is(err, &wire.Error{Code: wire.CodeUnsupported}); denied != (name == "no right") {
				t.Errorf("%s: error %v", name, err)
			}
		}
	})
}

func TestGoDown(t *testing.T) {
	held := &HeldError{[]string{"apt (installs a kernel, process 7)"}}
	for name, c := range map[string]struct {
		roads [3]road
		taken int // how many roads were tried
		left  bool
		after time.Duration
		want  string // error; "" is none
	}{
		"first":      {taken: 1, left: true},
		"second":     {roads: [3]road{{err: errors.New("no bus")}}, taken: 2, left: true},
		"third":      {roads: [3]road{{err: errors.New("no bus")}, {err: errors.New("no command")}}, taken: 3, left: true},
		"stuck":      {roads: [3]road{{stuck: true}}, taken: 2, left: true, after: wayBudget},
		"all closed": {roads: [3]road{{err: errors.New("no bus")}, {err: errors.New("no\ncommand")}, {err: fs.ErrPermission}}, taken: 3, want: "a: no bus; b: no; command; c: permission denied"},
		"held":       {roads: [3]road{{err: held}}, taken: 1, want: "a: the device is kept up by apt (installs a kernel, process 7)"},
		"stays up":   {taken: 1, after: time.Minute, want: "context deadline exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				leave := make(chan struct{})
				if c.left {
					close(leave)
				}
				var ways []Way
				for i := range c.roads {
					c.roads[i].name = string(rune('a' + i))
					ways = append(ways, &c.roads[i])
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				began := time.Now()
				err := New(Options{Kernel: &board{}, Ways: ways, Leave: leave}).GoDown(ctx, wire.ModeHalt, "test")
				if got := time.Since(began); got != c.after {
					t.Errorf("it took %v, want %v", got, c.after)
				}
				if got := fmt.Sprint(err); c.want == "" && err != nil || c.want != "" && got != c.want {
					t.Errorf("error %v, want %q", err, c.want)
				}
				for i, road := range c.roads {
					if want := i < c.taken; slices.Equal(road.taken, []wire.RebootMode{wire.ModeHalt}) != want {
						t.Errorf("%s was taken %v, want %v", road.name, road.taken, want)
					}
				}
			})
		})
	}
}

// TestCan lists what the platform can do, and refuses the rest.
func TestCan(t *testing.T) {
	closed, held := errors.New("not here"), &HeldError{[]string{"apt (installs, process 7)"}}
	for name, c := range map[string]struct {
		may   []int
		roads []Way
		can   string
		code  wire.Code // of a reboot
	}{
		"nothing":  {code: wire.CodeUnsupported, roads: []Way{&road{closed: closed}}},
		"the time": {may: []int{capSysTime}, can: "set-clock", code: wire.CodeUnsupported, roads: []Way{&road{closed: closed}}},
		"the end":  {can: "reboot", roads: []Way{&road{closed: closed}, &road{}}},
		"held":     {code: wire.CodeHeld, roads: []Way{&road{closed: held}, &road{}}},
		"by itself": {
			may: []int{capSysBoot}, can: "reboot",
			roads: []Way{&road{closed: closed}, bySystemCall{&board{may: []int{capSysBoot}}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			wished := false
			o := &system.Operations{
				Platform: New(Options{Kernel: &board{may: c.may}, Ways: c.roads, Sys: fstest.MapFS{}}),
				Down: func(context.Context, wire.Caller, wire.Reboot) (wire.StateOutcome, error) {
					wished = true
					return wire.StateOutcome{}, nil
				},
			}
			list, err := o.List(t.Context(), wire.Internal, wire.Empty{})
			if got := strings.Join(list.Ops, " "); err != nil || got != c.can || list.Platform != "linux" {
				t.Errorf("%s can %q, %v; want %q", list.Platform, got, err, c.can)
			}
			_, err = o.Reboot(t.Context(), wire.Internal, wire.Reboot{Reason: "test"})
			if c.code == 0 && (err != nil || !wished) || c.code != 0 && (wished || !errors.Is(err, &wire.Error{Code: c.code})) {
				t.Errorf("a reboot: %v, wished for: %v; want %d", err, wished, c.code)
			}
		})
	}
}

// TestSystemCall goes down by the kernel only with the right to.
func TestSystemCall(t *testing.T) {
	b := &board{}
	if err := (bySystemCall{b}).GoDown(t.Context(), wire.ModeReboot); err == nil || !strings.Contains(err.Error(), "CAP_SYS_BOOT") || len(b.told) > 0 {
		t.Errorf("without the right: %v, told %q", err, b.told)
	}
	b.may = []int{capSysBoot}
	if err := (bySystemCall{b}).GoDown(t.Context(), wire.ModePoweroff); err != nil || !slices.Equal(b.told, []string{"poweroff"}) {
		t.Errorf("with it: %v, told %q", err, b.told)
	}
}

// TestSystemctl runs a command that only writes down how it was called.
func TestSystemctl(t *testing.T) {
	dir := t.TempDir()
	command, calls := filepath.Join(dir, "systemctl"), filepath.Join(dir, "calls")
	script := "#!/bin/sh\necho \"$@\" >>" + calls + "\nif [ \"$2\" = halt ]; then echo 'Access denied'; exit 4; fi\n"
	if err := os.WriteFile(command, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	here := Systemctl{Command: command, Booted: dir}
	if err := here.GoDown(t.Context(), wire.ModeReboot); err != nil {
		t.Error(err)
	}
	if err := here.GoDown(t.Context(), wire.ModeHalt); err == nil || err.Error() != "exit status 4: Access denied" {
		t.Errorf("a refusal: %v", err)
	}
	if text, err := os.ReadFile(calls); string(text) != "--no-ask-password reboot\n--no-ask-password halt\n" {
		t.Errorf("called with %q, %v", text, err)
	}
	for name, c := range map[string]Systemctl{
		"systemd does not run here": {Command: command, Booted: filepath.Join(dir, "none")},
		"no such file":              {Command: command + "-none", Booted: dir},
	} {
		if err := c.GoDown(t.Context(), wire.ModeReboot); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("error %v, want %q", err, name)
		}
	}
}

func TestWakeLatency(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	const idle = "devices/system/cpu/cpu0/cpuidle/"
	sys := fstest.MapFS{
		idle + "state0/latency": file("2\n"), idle + "state0/disable": file("0\n"),
		idle + "state1/latency": file("133\n"), idle + "state1/disable": file("0\n"),
		idle + "state2/latency": file("900\n"), idle + "state2/disable": file("1\n"),
		idle + "state3/latency": file("deep\n"),
	}
	o := &system.Operations{Platform: New(Options{Kernel: &board{}, Ways: []Way{&road{}}, Sys: sys})}
	if list, err := o.List(t.Context(), wire.Internal, wire.Empty{}); err != nil || list.WakeLatency != 133 {
		t.Errorf("wakes within %v µs, %v; want 133", list.WakeLatency, err)
	}
	if got := wakeLatency(fstest.MapFS{}); got != 0 {
		t.Errorf("a machine that tells nothing wakes within %v", got)
	}
}

// TestHostMay reads this process's own capabilities, which changes nothing.
func TestHostMay(t *testing.T) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	var effective uint64
	for line := range strings.Lines(string(status)) {
		if mask, ok := strings.CutPrefix(line, "CapEff:"); ok {
			if _, err := fmt.Sscanf(mask, "%x", &effective); err != nil {
				t.Fatal(err)
			}
		}
	}
	for capability := range 41 {
		if got, want := (Host{}).May(capability), effective&(1<<capability) != 0; got != want {
			t.Errorf("capability %d: %v, want %v", capability, got, want)
		}
	}
}
