package wire

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var update = flag.Bool("update", false, "write the golden vectors anew; look at the difference before you commit it")

// golden is one message of testdata. The files are <type>-<name>.mp and .json.
type golden struct {
	name  string
	value any
}

var (
	stamp      = Stamp{Boot: "17-9f3c2a", At: 1_795_521_600_000_000, Mono: 4_211_000, Seq: 12}
	network    = Holder{Notifier: "network", Reason: "no route yet", Since: 4_101_000}
	backup     = Holder{Notifier: "backup", Reason: "uploading", Since: 4_150_000, Retry: 2_000_000}
	heldAtDHCP = Transition{
		Stamp: stamp, Kind: KindHeld, ID: "17-9f3c2a.4", From: DHCP, To: CPDPreTime, Goal: Operational, Round: 1, Reason: "boot",
		Started: 4_100_000, Holders: []Holder{network},
	}
	length   = int64(16)
	revision = uint64(7)
)

// goldens is at least one message of each type that travels; a test below makes sure.
var goldens = []golden{
	{"none", Empty{}},
	{"operational", StateEvent{
		Stamp: stamp, State: Operational, Number: 15, From: OneTimeUpdates, ID: "17-9f3c2a.14", Goal: Operational, Reason: "boot",
	}},
	{"first", StateEvent{Stamp: Stamp{Boot: "18-00c4fe", At: -1, Seq: 1}, State: Unknown, Goal: Operational, Reason: "start"}},
	{"proposed", Transition{
		Stamp: stamp, Kind: KindProposed, ID: "17-9f3c2a.4", From: IfaceColdplug, To: DHCP, Goal: Operational, Reason: "boot", Started: 4_000_000,
	}},
	{"held", heldAtDHCP},
	{"overridden", Transition{
		Stamp: stamp, Kind: KindOverridden, ID: "17-9f3c2a.40", From: Operational, To: ContextDestroying, Goal: ContextDestroying, Round: 9,
		Reason: "reboot", Started: 4_000_000, Limit: 30_000_000, Holders: []Holder{network, backup}, Lost: []string{"display"},
		Overridden: []Overridden{{Notifier: "network", How: HowDeferred}, {Notifier: "backup", How: HowNoAnswer}}, Flapping: true,
	}},
	{"held", view()},
	{"paused", StateView{
		State: DHCP, Number: 6, Goal: Operational, Boot: "17-9f3c2a", Seq: 40, Mono: 9_000_000, Since: 4_000_000,
		Paused: &Paused{Reason: "aborted: maintenance", Until: 69_000_000}, Store: StoreHealth{Missed: 3}, Protocol: Protocol, Version: "0.1.0",
	}},
	{"least", StateWish{Target: Operational, Reason: "resume work"}},
	{"full", StateWish{
		Target: IfaceColdplug, Reason: "the network is gone", Wait: 300_000_000, Limit: 60_000_000, OnLimit: LimitAbort, FallBack: true,
		Own: true, Force: true, DryRun: true,
	}},
	{"reached", StateOutcome{Request: "17-9f3c2a.r3", Outcome: OutcomeReached, State: Operational}},
	{"held", StateOutcome{
		Request: "17-9f3c2a.r4", ID: "17-9f3c2a.15", Outcome: OutcomeHeld, State: Operational, Holders: []Holder{backup},
	}},
	{"any", Resume{}},
	{"of", Resume{ID: "17-9f3c2a.4"}},
	{"done", Resumed{Outcome: ResumeDone}},
	{"reason", Abort{Reason: "maintenance: Grüße, 你好, \U0001F680", ID: "17-9f3c2a.4"}},
	{"dhcp", Aborted{State: DHCP}},
	{"earlier", HistoryQuery{Limit: 100, Boot: "16-51d0aa"}},
	{"one", History{
		Boots: []BootSummary{{
			Boot: "17-9f3c2a", DeviceBoot: "0f8b6f0e-8d0c-4c57-9e0b-3c1f3a0f9d11", Started: 1_795_521_596_000_000, StartedMono: 211_000,
			Operational: 3_100_000, Last: Operational, Clean: true,
		}},
		Events: []Transition{heldAtDHCP},
	}},
	{"least", Registration{}},
	{"full", Registration{
		States: []State{DHCP, PolicyValid, ContextDestroying}, Order: -5, Timeout: 250_000, Required: true, About: "brings the uplink up",
		Format: FormatJSON, Session: "s3cr3t",
	}},
	{"none", NotifierName{}},
	{"held", Joined{Subject: "sys.notify.network", Session: "s3cr3t", State: DHCP, Transition: &heldAtDHCP}},
	{"two", Notifiers{Notifiers: []NotifierView{
		{
			Name: "network", States: []State{DHCP}, Order: 10, Timeout: DefaultTimeout, Required: true, About: "brings the uplink up", Alive: true,
			Identity: "uid:1001", Asked: 300, Accepted: 299, Deferred: 1, Slowest: 70_000,
		},
		{Name: "clock", Timeout: DefaultTimeout, Identity: Daemon},
	}}},
	{"boot", Question{ID: "17-9f3c2a.4", From: DHCP, To: CPDPreTime, Goal: Operational, Round: 1, Reason: "boot"}},
	{"final", Question{
		ID: "17-9f3c2a.40", From: Operational, To: ContextDestroying, Goal: ContextDestroying, Round: 3, Reason: "reboot", Final: true,
	}},
	{"accept", Answer{Answer: Accept}},
	{"defer", Answer{Answer: Defer, Reason: "uploading", Retry: 2_000_000}},
	{"handler", Booking{Call: "rotate-logs"}},
	{"durable", Booking{
		Call: "sys.call.backup.run", State: TimeValid, Data: Raw("\x82\xa4path\xa5/data\xa4sums\x93\xc4\x02\x00\xff\xff\xd1\x01\x00"),
		Timeout: 30_000_000, Deadline: 600_000_000, Durable: true, Done: "sys.done.backup", ID: "backup-2026-11-24", Format: FormatMsgpack,
	}},
	{"third", Booked{ID: "17-9f3c2a.b9", Position: 2}},
	{"one", BookingID{ID: "backup-2026-11-24"}},
	{"data", Call{ID: "backup-2026-11-24", Loop: 0, State: Operational, Data: Raw("\x81\xa4path\xa5/data")}},
	{"ok", Done{ID: "backup-2026-11-24", OK: true, Queued: 1_200, Ran: 2_500_000, Result: Raw("\x81\xa5files\xcd\x01\x2c")}},
	{"failed", Done{ID: "backup-2026-11-24", Error: "no answer within 5 s", Queued: 1_200, Ran: 5_000_000}},
	{"nobody", LoopError{
		Stamp: Stamp{Boot: "17-9f3c2a", At: 1_795_521_600_000_000, Mono: 4_211_000}, ID: "17-9f3c2a.b9", Call: "sys.call.backup.run",
		State: Operational, Identity: "uid:1001", Error: "not connected",
	}},
	{"busy", Loops{Loops: []LoopView{{
		Waiting: []BookingView{{ID: "b10", Call: "rotate-logs", State: Operational, Since: 4_200_000, Identity: "uid:1001"}}, Depth: 1,
		Running: &BookingView{ID: "b9", Call: "sys.call.backup.run", State: TimeValid, Since: 4_100_000, Identity: "uid:1001", Durable: true},
		Done:    8, Failed: 1,
	}}}},
	{"none", HandlerName{}},
	{"backup", Offered{Subject: "sys.call.backup"}},
	{"sim", Ops{Platform: "sim", Ops: []string{"set-clock", "reboot"}, WakeLatency: 90}},
	{"ntp", SetClock{At: 1_795_521_600_000_000, Source: "ntp"}},
	{"back", ClockSet{Before: 1_795_521_600_250_000, After: 1_795_521_600_000_000}},
	{"full", Reboot{Reason: "new kernel", Mode: ModePoweroff, Limit: 30_000_000, OnLimit: LimitProceed, DryRun: true, Force: true}},
	{"captive", CaptivePortal{Result: "captive", URL: "http://portal.example/login"}},
	{"part", BlobRange{Offset: 4, Length: &length}},
	{"bytes", BlobPart{Data: []byte("\x00\x01\xfe\xff"), Offset: 4, Size: 8, Revision: 7, Source: SourceKV}},
	{"empty", BlobPart{Source: SourceKV}},
	{"none", BlobKey{}},
	{"default", BlobMeta{Size: 12, Source: SourceDefault}},
	{"compare", BlobWrite{Data: []byte("\x00\x01\xfe\xff"), Revision: &revision}},
	{"empty", BlobWrite{Data: []byte{}}},
	{"bytes", BlobTail{Data: []byte("more")}},
	{"four", BlobWritten{Size: 4, Revision: 8}},
	{"nine", BlobEmptied{Revision: 9}},
	{"two", Blobs{Blobs: []BlobView{
		{Name: "auth", Index: 1, Size: 300, Revision: 7, Source: SourceKV, Secret: true},
		{Name: "device-serial", Size: 8, Source: SourceDirect},
	}}},
	{"set", BlobEvent{Stamp: Stamp{Boot: "17-9f3c2a", At: 1_795_521_600_000_000, Mono: 4_211_000}, Revision: 8, Size: 4}},
	{"refused", Trace{
		Stamp: Stamp{Boot: "17-9f3c2a", At: 1_795_521_600_000_000, Mono: 4_211_000}, Kind: "answer", Subject: "sys.api.state.abort",
		Identity: "uid:1001", Conn: 12, Code: CodeNotFound, Took: 140, Payload: Raw("\x81\xa4code\xcd\x01\x94"),
	}},
	{"held", Error{Code: CodeHeld, Message: "a transition to MODAL_UPDATING is running", Detail: map[string]any{"transition": "17-9f3c2a.15"}}},
	{"malformed", Error{Code: CodeMalformed, Message: `timeout_us is "abc"; an integer would be right`}},
	{"two", Connections{Connections: []Connection{
		{Conn: 7, Identity: "uid:1001", Roles: []string{"modem"}, Via: "unix", Name: "modemd", UID: new(1001), PID: 412, Exe: "/usr/bin/modemd", Since: 1_795_521_600_000_000, Subscriptions: 3},
		{Conn: 9, Identity: "nkey:UAB", Roles: []string{"observer"}, Via: "nkey", Since: 1_795_521_600_000_000, Pending: 1 << 20, Slow: true},
	}}},
	{"page", TicketWish{Role: "observer", TTL: 60_000_000}},
	{"page", Ticket{User: "ticket-1", Password: "EXAMPLE", Role: "observer", Expires: 1_795_521_660_000_000, URL: "ws://127.0.0.1:8222"}},
	{"other", AccessQuery{Who: "user:modem", Right: "notifier:modem"}},
	{"yes", AccessRuling{Identity: "uid:1001", Roles: []string{"modem"}, Allowed: true, Rule: "role modem grants notifier:modem"}},
}

func (g golden) base() string {
	var b strings.Builder
	for i, c := range reflect.TypeOf(g.value).Name() {
		if unicode.IsUpper(c) && i > 0 {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(c))
	}
	return filepath.Join("testdata", strings.Replace(b.String(), "i-d", "id", 1)+"-"+g.name)
}

// TestGolden holds both forms of each message against the files that clients in other languages test with too.
func TestGolden(t *testing.T) {
	for _, g := range goldens {
		t.Run(filepath.Base(g.base()), func(t *testing.T) {
			data, err := Encode(g.value)
			if err != nil {
				t.Fatal(err)
			}
			text, err := EncodeJSON(g.value)
			if err != nil {
				t.Fatal(err)
			}
			var readable bytes.Buffer
			if err := json.Indent(&readable, text, "", "  "); err != nil {
				t.Fatal(err)
			}
			readable.WriteByte('\n')
			same(t, g.base()+".mp", data)
			same(t, g.base()+".json", readable.Bytes())
			got, again := reflect.New(reflect.TypeOf(g.value)), reflect.New(reflect.TypeOf(g.value))
			if err := Decode(data, got.Interface()); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(g.value, got.Elem().Interface(), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("from MessagePack (-want +got):\n%s", diff)
			}
			if err := DecodeJSON(readable.Bytes(), again.Interface()); err != nil {
				t.Fatal(err)
			}
			if rewritten, err := EncodeJSON(again.Interface()); err != nil || !bytes.Equal(rewritten, text) {
				t.Errorf("from JSON and back: %s, %v; want %s", rewritten, err, text)
			}
		})
	}
}

// same holds bytes against a file, or writes it when asked to.
func same(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; write it with: go test ./wire -run TestGolden -update", err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s has drifted: the protocol has changed, or it must not have\n got %q\nwant %q", file, got, want)
	}
}

// TestGoldenComplete wants each type that travels in testdata, and no file there that nothing makes.
func TestGoldenComplete(t *testing.T) {
	here, files := map[reflect.Type]bool{}, map[string]bool{}
	for _, g := range goldens {
		here[reflect.TypeOf(g.value)] = true
		if files[g.base()] {
			t.Errorf("%s stands twice", g.base())
		}
		files[g.base()] = true
	}
	for _, typ := range messages() {
		if !here[typ] {
			t.Errorf("no golden vector of %v", typ)
		}
	}
	found, err := filepath.Glob("testdata/*.*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range found {
		if base := strings.TrimSuffix(file, filepath.Ext(file)); !files[base] && filepath.Base(file) != "README.md" {
			t.Errorf("nothing makes %s", file)
		}
	}
}
