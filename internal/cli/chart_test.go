package cli

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"muster/wire"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) {
	time.Local = time.UTC // the charts tell local time
	os.Exit(m.Run())      //nolint:forbidigo // this is a main
}

// tape is a timeline in the making: what happens, and how much time goes by.
type tape struct {
	summary wire.BootSummary
	now     wire.MonoMicros
	move    wire.Transition
	since   map[string]wire.MonoMicros
	events  []wire.Transition
}

const tapeStart = 5_000_000 // the daemon does not start with the device

func newTape() *tape {
	return &tape{
		now: tapeStart,
		summary: wire.BootSummary{
			Boot: "17-9f3c2a", Started: 1_795_000_000_000_000, StartedMono: tapeStart, Last: wire.Unknown,
		},
	}
}

func (t *tape) pass(d time.Duration) { t.now += wire.MonoMicros(wire.InMicros(d)) }

func (t *tape) tell(kind wire.Kind) {
	event := t.move
	event.Kind, event.Mono, event.Holders = kind, t.now, append([]wire.Holder{}, t.move.Holders...)
	t.events = append(t.events, event)
}

// propose begins a move from where the last one led.
func (t *tape) propose(to wire.State, reason string) {
	t.since = map[string]wire.MonoMicros{}
	t.move = wire.Transition{
		ID: fmt.Sprintf("%s.%d", t.summary.Boot, len(t.events)), From: t.summary.Last, To: to, Reason: reason, Started: t.now,
	}
	t.tell(wire.KindProposed)
}

// held has exactly these hold: pairs of name and reason.
func (t *tape) held(holders ...string) {
	t.move.Holders = nil
	for i := 0; i < len(holders); i += 2 {
		if t.since[holders[i]] == 0 {
			t.since[holders[i]] = t.now
		}
		t.move.Holders = append(t.move.Holders, wire.Holder{Notifier: holders[i], Reason: holders[i+1], Since: t.since[holders[i]]})
	}
	t.tell(wire.KindHeld)
}

func (t *tape) resumed() {
	t.move.Holders = nil
	t.tell(wire.KindResumed)
}

func (t *tape) commit() {
	t.move.Holders = nil
	t.summary.Last = t.move.To
	if t.move.To == wire.Operational && t.summary.Operational == 0 {
		t.summary.Operational = wire.Micros(t.now - tapeStart)
	}
	t.tell(wire.KindCommitted)
}

func (t *tape) giveUp(kind wire.Kind, why string) {
	t.move.Reason = why
	t.tell(kind)
}

// climb steps up to a state without anybody in the way.
func (t *tape) climb(to wire.State, each time.Duration) {
	for state := t.summary.Last + 1; state <= to; state++ {
		t.propose(state, "boot")
		t.pass(each)
		t.commit()
	}
}

// chart is what blame makes of the tape, as the boot that runs or as an earlier one.
func (t *tape) chart(runs bool) chart {
	history := wire.History{Boots: []wire.BootSummary{t.summary}, Events: t.events}
	if !runs {
		history.Boots = []wire.BootSummary{{Boot: "18-000000"}, t.summary}
	}
	return blame(history, t.summary.Boot, t.now)
}

// The boots that are drawn.
var boots = []struct {
	name string
	tape func(*tape)
	past bool
}{
	{name: "quick", tape: func(t *tape) {
		t.pass(2100 * time.Microsecond)
		t.climb(wire.Operational, 60*time.Microsecond)
	}},
	{name: "device", tape: func(t *tape) {
		t.pass(47 * time.Millisecond)
		t.climb(wire.IfaceColdplug, 20*time.Microsecond)
		t.propose(wire.DHCP, "boot")
		t.held("network", "not connected")
		t.pass(220 * time.Millisecond)
		t.held("network", "no address on eth0 yet", "modem", "the SIM is locked")
		t.pass(480 * time.Millisecond)
		t.held("network", "no address on eth0 yet")
		t.pass(510 * time.Millisecond)
		t.resumed()
		t.pass(300 * time.Microsecond)
		t.commit()
		t.climb(wire.CPDPreTime, 20*time.Microsecond)
		t.propose(wire.TimeValid, "boot")
		t.held("clock", "no answer from pool.ntp.org")
		t.pass(time.Second)
		t.resumed()
		t.pass(200 * time.Microsecond)
		t.held("clock", "no answer from pool.ntp.org")
		t.pass(650 * time.Millisecond)
		t.resumed()
		t.commit()
		t.climb(wire.CPDPostTime, 20*time.Microsecond)
		t.propose(wire.PolicyValid, "boot")
		t.held("policy", "the policy is fetched")
		t.pass(800 * time.Millisecond)
		t.resumed()
		t.commit()
		t.climb(wire.Auth1, 40*time.Microsecond)
		t.propose(wire.Auth2, "boot")
		t.held("token", "503 from auth.example.net")
		t.pass(330 * time.Millisecond)
		t.resumed()
		t.commit()
		t.climb(wire.Operational, 20*time.Microsecond)
		t.pass(3 * time.Hour)
		t.propose(wire.AwaitingModalUpdating, "new firmware")
		t.held("recorder", "a recording is running")
		t.pass(42 * time.Second)
		t.giveUp(wire.KindExpired, "held longer than its limit")
		t.pass(time.Hour)
		t.propose(wire.AwaitingModalUpdating, "new firmware")
		t.held("recorder", "a recording is running")
		t.pass(12 * time.Second)
		t.move.Lost = []string{"recorder"}
		t.resumed()
		t.commit()
		t.propose(wire.Operational, "nothing new")
		t.commit()
		t.pass(time.Minute)
		t.propose(wire.ContextDestroying, "the daemon is told to stop")
		t.held("database", "writes its log", "recorder", "a recording is running")
		t.pass(7 * time.Second)
		t.held("recorder", "a recording is running")
		t.pass(23 * time.Second)
		t.move.Overridden = []wire.Overridden{{Notifier: "recorder", How: wire.HowDeferred}}
		t.tell(wire.KindOverridden)
		t.commit()
	}, past: true},
	{name: "troubled", tape: func(t *tape) {
		long := strings.Repeat("a-notifier-with-a-name-as-long-as-", 2)[:wire.MaxName]
		t.pass(300 * time.Millisecond)
		t.climb(wire.Initialized, 100*time.Microsecond)
		t.propose(wire.CollectingStdin, "boot")
		t.held(long, `<script>alert("&")</script> ]]> `+strings.Repeat("and so on ", 90), "b", "\x1b[31mred\nand\u202e more")
		t.pass(2 * time.Minute)
		t.giveUp(wire.KindExpired, "held longer than its limit")
		t.tell(wire.KindPaused)
		t.pass(time.Minute)
		t.propose(wire.CollectingStdin, "boot")
		t.held("b", "一つの理由", "c", "3", "d", "4", "e", "5", "f", "6", "g", "7", "h", "8", "i", "9", "j", "10", "k", "11")
		t.pass(90 * time.Second)
		t.held("b", "another reason")
		t.pass(30 * time.Second)
		t.held("b", "a third one")
		t.pass(time.Second)
		t.giveUp(wire.KindAborted, "displaced by a wish for CONTEXT_DESTROYING: "+strings.Repeat("x", 200))
		t.propose(wire.CollectingStdin, "boot")
		t.commit()
		t.climb(wire.OneTimeUpdates, 30*time.Microsecond)
		t.propose(wire.Operational, "boot")
		t.held("migrations", "0042-move-the-logs is at 17 of 93")
		t.pass(5 * time.Minute)
		t.resumed()
		t.commit()
	}},
	{name: "waiting", tape: func(t *tape) {
		t.pass(31 * time.Millisecond)
		t.climb(wire.IfaceColdplug, 20*time.Microsecond)
		t.propose(wire.DHCP, "boot")
		t.held("network", "no carrier on eth0")
		t.pass(9 * time.Second)
	}},
	{name: "cut", tape: func(t *tape) {
		t.pass(31 * time.Millisecond)
		t.climb(wire.PrePrivDrop, 20*time.Microsecond)
		t.propose(wire.Initialized, "boot")
		t.held("disk", "fsck runs")
		t.pass(9 * time.Second)
		t.held("disk", "fsck runs", "net", "away")
		t.pass(9 * time.Second)
	}, past: true},
	{name: "ended", tape: func(t *tape) {
		t.pass(31 * time.Millisecond)
		t.climb(wire.CPDPreTime, 20*time.Microsecond)
		t.propose(wire.TimeValid, "boot")
		t.held("clock", "not synchronised")
		t.pass(5 * time.Second)
		t.held("clock", "not synchronised", "modem", "the SIM is locked")
		t.pass(5 * time.Second)
		t.held("modem", "the SIM is locked")
		t.pass(3 * time.Second)
		t.giveUp(wire.KindAborted, "displaced by a wish for CONTEXT_DESTROYING")
		t.propose(wire.ContextDestroying, "the power button")
		t.held("database", "writes its log")
		t.pass(2 * time.Second)
		t.resumed()
		t.commit()
	}, past: true},
	{name: "nothing", tape: func(*tape) {}, past: true},
}

func TestCharts(t *testing.T) {
	for _, b := range boots {
		t.Run(b.name, func(t *testing.T) {
			tape := newTape()
			b.tape(tape)
			c := tape.chart(!b.past)
			var text, picture bytes.Buffer
			c.writeText(&text)
			path := c.criticalPath()
			if path.Held != c.Held {
				t.Errorf("the chain is %v long, and the boot was held for %v", path.Held, c.Held)
			}
			fmt.Fprintln(&text, "\nthe critical path:")
			path.writeText(&text)
			if err := c.writeSVG(&picture); err != nil {
				t.Fatal(err)
			}
			golden(t, b.name+".txt", text.Bytes())
			golden(t, b.name+".svg", picture.Bytes())
		})
	}
}

// golden holds what was made against a file.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", "chart", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs from what is drawn (-update writes it anew):\n%s", path, diff)
	}
}

// TestPictureIsWhole reads every picture as XML, and looks whether all of it is on it.
func TestPictureIsWhole(t *testing.T) {
	for _, b := range boots {
		t.Run(b.name, func(t *testing.T) {
			tape := newTape()
			b.tape(tape)
			c := tape.chart(!b.past)
			var picture bytes.Buffer
			if err := c.writeSVG(&picture); err != nil {
				t.Fatal(err)
			}
			d := xml.NewDecoder(&picture)
			height, bars := 0.0, 0
			for {
				token, err := d.Token()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				element, starts := token.(xml.StartElement)
				if !starts {
					continue
				}
				numbers := map[string]float64{}
				for _, a := range element.Attr {
					if n, err := strconv.ParseFloat(a.Value, 64); err == nil {
						numbers[a.Name.Local] = n
					}
				}
				switch element.Name.Local {
				case "svg":
					height = numbers["height"]
				case "script":
					t.Error("a reason got out of its quotes")
				case "rect", "text":
					bars++
					if numbers["x"] < 0 || numbers["x"]+numbers["width"] > pictureWidth || numbers["y"]+numbers["height"] > height {
						t.Errorf("%v is outside of the picture, which is %.0f high", element.Attr, height)
					}
				}
			}
			if bars < 3 || height == 0 {
				t.Errorf("the picture has %d bars and texts and is %.0f high", bars, height)
			}
		})
	}
}

func TestPictureNotWritten(t *testing.T) {
	full := errors.New("no space left on device")
	c := newTape().chart(true)
	if err := c.writeSVG(&fussy{left: 100, err: full}); !errors.Is(err, full) {
		t.Errorf("error %v, want the writer's", err)
	}
}

// fussy takes so many bytes.
type fussy struct {
	left int
	err  error
}

func (f *fussy) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, f.err
	}
	return len(p), nil
}

// TestBlame looks at what is found out about a boot.
func TestBlame(t *testing.T) {
	tape := newTape()
	tape.pass(time.Millisecond)
	tape.climb(wire.IfaceColdplug, 0)
	tape.propose(wire.DHCP, "boot")
	tape.pass(time.Millisecond)
	tape.held("net", "away", "modem", "the SIM is locked")
	tape.pass(5 * time.Millisecond)
	tape.held("net", "no address")
	tape.pass(3 * time.Millisecond)
	tape.move.Lost = []string{"net"}
	tape.resumed()
	tape.commit()
	tape.climb(wire.Operational, 0)
	got := tape.chart(true)
	if len(got.Steps) != 16 || got.Steps[6].To != wire.DHCP {
		t.Fatalf("steps %+v, want the daemon's start and then each state", got.Steps)
	}
	want := chart{
		Boot: "17-9f3c2a", Started: tape.summary.Started, Operational: 10_000, Length: 10_000, Running: true, Held: 8000,
		Blame: []blamed{{"net", 8000}, {"modem", 5000}}, Later: []step{},
		Steps: []step{{From: wire.IfaceColdplug, To: wire.DHCP, Begin: 1000, End: 10_000, Kind: wire.KindCommitted, Held: []spell{
			{Notifier: "net", Reason: "away", Begin: 2000, End: 7000},
			{Notifier: "modem", Reason: "the SIM is locked", Begin: 2000, End: 7000},
			{Notifier: "net", Reason: "no address", Begin: 7000, End: 10_000, How: howLost},
		}}},
	}
	got.Steps = got.Steps[6:7]
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(spell{})); diff != "" {
		t.Error(diff)
	}
}

// TestTicks wants few round times on every axis, from a microsecond to a century.
func TestTicks(t *testing.T) {
	for length := 1.0; length < 3e15; length *= 1.37 {
		count, last := 0, wire.Micros(0)
		for at := range ticks(wire.Micros(length), 9) {
			count, last = count+1, at
		}
		if count < 2 || count > 10 || last > wire.Micros(length) {
			t.Errorf("an axis of %.0f µs has %d ticks up to %d", length, count, last)
		}
	}
}

// TestOddTimes draws what no daemon should send.
func TestOddTimes(t *testing.T) {
	for _, at := range []wire.MonoMicros{math.MinInt64, -1, 0, math.MaxInt64} {
		tape := newTape()
		tape.propose(wire.ContextCreated, "boot")
		tape.now = at
		tape.held("net", "")
		tape.now = tapeStart + 1
		tape.resumed()
		c := tape.chart(true)
		var text, picture strings.Builder
		c.writeText(&text)
		if err := c.writeSVG(&picture); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(picture.String(), "NaN") || strings.Contains(picture.String(), "Inf") {
			t.Errorf("at %d: the picture has a place that is none", at)
		}
		for line := range strings.Lines(text.String()) {
			if n := len([]rune(line)); n > 200 {
				t.Errorf("at %d: a line has %d characters", at, n)
			}
		}
	}
}
