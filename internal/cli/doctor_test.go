package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/internal/version"
	"muster/wire"
)

const second = wire.MonoMicros(time.Second / time.Microsecond)

// told gives findings as lines.
func told(findings ...finding) []string {
	var lines []string
	for _, f := range findings {
		lines = append(lines, string(f.Verdict)+" "+f.About+": "+f.What)
	}
	return lines
}

func TestDoctorsFindings(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	view := wire.StateView{
		State: wire.Operational, Mono: 10000 * second, Since: 9900 * second, At: wire.At(now), Boot: "7-a", DeviceBoot: "d",
		Protocol: wire.Protocol, Version: version.String(), Store: wire.StoreHealth{OK: true},
	}
	with := func(change func(v *wire.StateView)) wire.StateView {
		v := view
		change(&v)
		return v
	}
	held := func(since time.Duration) wire.StateView {
		return with(func(v *wire.StateView) {
			started := v.Mono - wire.MonoMicros(since/time.Microsecond)
			v.State = wire.IfaceColdplug
			v.Transition = &wire.Transition{To: wire.DHCP, Started: started, Holders: []wire.Holder{{Notifier: "net", Reason: "no cable", Since: started}}}
		})
	}
	mib := uint64(1 << 20)
	for name, tt := range map[string]struct {
		findings []finding
		want     []string
	}{
		"same version":   {checkVersion(view), []string{"ok version: muster " + version.String() + ", protocol 1, as this command"}},
		"older daemon":   {checkVersion(with(func(v *wire.StateView) { v.Version = "v0" })), []string{"warn version: the daemon is muster v0, this command " + version.String()}},
		"other protocol": {checkVersion(with(func(v *wire.StateView) { v.Protocol = 9 })), []string{"fail version: the daemon speaks protocol 9, this command 1"}},

		"clock":        {[]finding{checkClock(view, now.Add(time.Second))}, []string{"ok clock: 2026-11-24 12:00:00 UTC"}},
		"clock apart":  {[]finding{checkClock(view, now.Add(-time.Minute))}, []string{"warn clock: the daemon's clock is 1m away from this machine's"}},
		"clock of old": {[]finding{checkClock(with(func(v *wire.StateView) { v.At = 1 }), now)}, []string{"fail clock: the clock of the device is at 1970-01-01 00:00:00, which cannot be"}},

		"at rest":      {checkState(view), []string{"ok state: OPERATIONAL for 1m40s"}},
		"just held":    {checkState(held(time.Second)), []string{"ok state: IFACE_COLDPLUG, on the way to DHCP since 1 s", "ok holder: net: no cable (for 1 s)"}},
		"held long":    {checkState(held(time.Minute)), []string{"warn state: IFACE_COLDPLUG, on the way to DHCP since 1m", "warn holder: net: no cable (for 1m)"}},
		"held forever": {checkState(held(time.Hour)), []string{"fail state: IFACE_COLDPLUG, on the way to DHCP since 1h", "fail holder: net: no cable (for 1h)"}},
		"flapping": {checkState(with(func(v *wire.StateView) {
			v.Transition = &wire.Transition{To: wire.DHCP, Started: v.Mono, Round: 12, Flapping: true}
		})), []string{
			"warn state: OPERATIONAL, on the way to DHCP since 0 µs",
			"warn state: everybody was asked 12 times: somebody resumes and defers again",
		}},
		"paused": {checkState(with(func(v *wire.StateView) {
			v.Goal, v.Paused = wire.Operational, &wire.Paused{Reason: "by hand", Until: v.Mono + 30*second}
		})), []string{"warn state: OPERATIONAL, paused for 30 s on the way to OPERATIONAL: by hand"}},

		"notifiers": {checkNotifiers(wire.Notifiers{Notifiers: []wire.NotifierView{
			{Name: "fine", Alive: true, Timeout: 5_000_000, Asked: 4, Accepted: 2, Deferred: 1, Slowest: 1000},
			{Name: "slow", Alive: true, Timeout: 5_000_000, Asked: 1, Accepted: 1, Slowest: 3_000_000},
			{Name: "mute", Alive: true, Timeout: 5_000_000, Asked: 9, Accepted: 2},
			{Name: "cut off", Alive: true, Timeout: 5_000_000, Asked: 90, Accepted: 85},
			{Name: "away"},
			{Name: "must", Required: true},
		}}), []string{
			"warn notifier: slow took 3 s for an answer, of the 5 s that it has",
			"warn notifier: mute left 7 of 9 questions unanswered",
			"warn notifier: away is not connected",
			"fail notifier: must is required and not connected",
			"ok notifiers: 4 connected",
		}},
		"loops": {checkLoops(wire.Loops{Loops: []wire.LoopView{
			{N: 0, Done: 5},
			{N: 1, Done: 5, Failed: 2, Depth: 2000, Running: &wire.BookingView{Call: "sys.call.long"}, Waiting: []wire.BookingView{
				{Call: "sys.call.later", State: wire.ModalUpdating}, {Call: "sys.call.late", State: wire.Operational, Since: view.Mono - 20*second},
			}},
		}}, view), []string{
			"ok loop 0: 5 done, 0 waiting",
			"warn loop 1: 2 of 5 calls failed", "warn loop 1: 2000 calls wait", "warn loop 1: sys.call.late has waited for 20 s behind sys.call.long",
		}},
		"boots": {checkBoots(wire.History{Boots: []wire.BootSummary{
			{Boot: "7-a", DeviceBoot: "d", Operational: 40_000}, {Boot: "6-a", DeviceBoot: "d", Clean: true}, {Boot: "5-a", DeviceBoot: "d"}, {Boot: "4-a", DeviceBoot: "c"},
		}}, view), []string{
			"warn boots: 1 of the last 3 runs crashed or were killed since the device came up",
			"warn boots: 1 of the last 3 runs ended with the power, not through CONTEXT_DESTROYING",
			"ok boot: OPERATIONAL 40 ms after the start",
		}},
		"crashing": {checkBoots(wire.History{Boots: []wire.BootSummary{
			{Boot: "7-a", DeviceBoot: "d"}, {Boot: "6-a", DeviceBoot: "d"}, {Boot: "5-a", DeviceBoot: "d"}, {Boot: "4-a", DeviceBoot: "d"},
		}}, view), []string{"fail boots: 3 of the last 3 runs crashed or were killed since the device came up"}},

		"store": {checkStore([]stream{
			{"EVENTS", 64 * mib, 64 * mib, true}, {"BLOBS", 10 * mib, 64 * mib, false}, {"FREE", mib, 0, false},
		}), []string{"ok store: 75 MiB of 128 MiB"}},
		"store in health": {checkHealth(view.Store), nil},
		"store in need": {checkHealth(wire.StoreHealth{Missed: 3}), []string{
			"fail store: events cannot be stored", "warn store: 3 events of this run are not in the store",
		}},
		"store nearly full": {checkStore([]stream{{"A", 85, 100, false}, {"B", 99, 100, false}}), []string{
			"warn store: A is 85 % full: 85 B of 100 B", "fail store: B is 99 % full: 99 B of 100 B",
		}},
	} {
		if diff := cmp.Diff(tt.want, told(tt.findings...)); diff != "" {
			t.Errorf("%s (-want +found):\n%s", name, diff)
		}
		for _, f := range tt.findings {
			if f.Verdict == fail && f.Hint == "" {
				t.Errorf("%s: %q comes without a hint", name, f.What)
			}
		}
	}
}

// TestDoctorFindsFilesOfTheFuture sets the clock of a file on.
func TestDoctorFindsFilesOfTheFuture(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	path := filepath.Join(dir, "boot-1")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if findings := checkFiles(dir, now); len(findings) > 0 {
		t.Errorf("found %v of a new file", told(findings...))
	}
	if err := os.Chtimes(path, now, now.Add(2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if lines := told(checkFiles(dir, now)...); len(lines) != 1 || !strings.HasPrefix(lines[0], "warn clock: "+path+" was written 2h from now") {
		t.Errorf("found %v", lines)
	}
}

// TestDoctorReportsTheFileLimit asks about this very process.
func TestDoctorReportsTheFileLimit(t *testing.T) {
	open, most, err := descriptors(os.Getpid())
	if err != nil || open < 3 || most < open {
		t.Errorf("%d of %d files, %v", open, most, err)
	}
	if replaced(os.Getpid()) {
		t.Error("this program is said to be replaced")
	}
	if free, err := freeSpace(t.TempDir()); err != nil || free <= 0 {
		t.Errorf("%d bytes free, %v", free, err)
	}
}
