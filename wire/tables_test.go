package wire

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestStates(t *testing.T) {
	if len(States()) != 20 {
		t.Fatalf("%d states; the protocol has 20", len(States()))
	}
	for i, s := range States() {
		got, err := ParseState(s.String())
		if err != nil || got != State(i) {
			t.Errorf("%v: %v, %v", s, got, err)
		}
	}
	for state, number := range map[State]int{DHCP: 6, Operational: 15, PolicyInvalid: 16, ContextDestroying: 17, ModalUpdating: 19} {
		if int(state) != number {
			t.Errorf("%v is %d, lws has %d", state, state, number)
		}
	}
	if State(77).String() != "State(77)" || Unknown.Boot() || PolicyInvalid.Boot() || !Operational.Boot() || !ModalUpdating.Modal() {
		t.Error("String, Boot or Modal")
	}
	if _, err := ParseState("modal"); err == nil || !strings.Contains(err.Error(), "MODAL_UPDATING") {
		t.Errorf("hint: %v", err)
	}
}

func TestHas(t *testing.T) {
	for _, tt := range []struct {
		state, target State
		want          bool
	}{
		{Operational, DHCP, true},
		{DHCP, DHCP, true},
		{IfaceColdplug, DHCP, false},
		{Unknown, ContextCreated, false},
		{ModalUpdating, AwaitingModalUpdating, false},
		{ModalUpdating, DHCP, true},
		{AwaitingModalUpdating, Operational, false},
		{PolicyInvalid, DHCP, false},
		{PolicyInvalid, PolicyInvalid, true},
		{Operational, ContextDestroying, false},
	} {
		if got := tt.state.Has(tt.target); got != tt.want {
			t.Errorf("%v has %v: %v", tt.state, tt.target, got)
		}
	}
}

// TestTables holds the tables to what the rest relies on.
func TestTables(t *testing.T) {
	seen := map[string]bool{}
	for _, e := range Endpoints() {
		if seen[e.Pattern()] {
			t.Errorf("%s stands twice", e.Subject)
		}
		seen[e.Pattern()] = true
		for _, p := range e.parameters {
			if p.field == nil {
				t.Errorf("%s: %v has no field for <%s>", e.Subject, e.Req, p.name)
			}
		}
		if e.Right == "" && e != AccessCan.EndpointInfo || !strings.HasSuffix(e.Doc, ".") { // about oneself anybody may ask
			t.Errorf("%s: right %q, doc %q", e.Subject, e.Right, e.Doc)
		}
		if least := MaxRequest; e.MaxBytes() < least || e.MaxBytes() > MaxPayload {
			t.Errorf("%s: at most %d bytes", e.Subject, e.MaxBytes())
		}
	}
	if len(Events()) == 0 || StateTopic(DHCP) != "sys.state.DHCP" || NotifySubject("x") != "sys.notify.x" {
		t.Error("events")
	}
}

// TestReach: each endpoint is asked where it says, and nowhere else is another in the way.
func TestReach(t *testing.T) {
	for _, tt := range []struct {
		reach []string
		want  []string
	}{
		{StateGet.Reach(), []string{"sys.api.state.get"}},
		{BlobGet.Reach(), []string{"sys.api.blob.get", "sys.api.blob.get.>"}},
		{LoopBook.Reach(), []string{"sys.loop.*"}},
	} {
		if !slices.Equal(tt.reach, tt.want) {
			t.Errorf("reach is %v, want %v", tt.reach, tt.want)
		}
	}
	for _, e := range Endpoints() {
		for _, other := range Endpoints() {
			for _, subject := range other.Reach() {
				below, all := strings.CutSuffix(e.Reach()[len(e.Reach())-1], ">")
				if e != other && all && strings.HasPrefix(subject, below) {
					t.Errorf("%s of %s is also %s's", subject, other.Subject, e.Subject)
				}
			}
		}
	}
}

func TestPaths(t *testing.T) {
	key := BlobKey{Name: "auth", Index: 1}
	subject := BlobSize.For(key)
	if subject != "sys.api.blob.size.auth.1" {
		t.Errorf("For: %s", subject)
	}
	var got BlobKey
	if err := BlobSize.ReadPath(subject, &got); err != nil || got != key {
		t.Errorf("ReadPath: %+v, %v", got, err)
	}
	if StateGet.For(Empty{}) != "sys.api.state.get" || StateGet.ReadPath("x", &Empty{}) != nil {
		t.Error("a subject without parameters")
	}
	for subject, want := range map[string]string{
		"sys.api.blob.size.auth.x":                            `<index> in the subject is "x"`,
		"sys.api.blob.size.auth.01":                           `<index> in the subject is "01"`,
		"sys.api.blob.size.auth.-1":                           `<index> in the subject is "-1"`,
		"sys.api.blob.size.auth.99999":                        `<index> in the subject is "99999"`,
		"sys.api.blob.size.au$th.0":                           `has "$" in it`,
		"sys.api.blob.size." + strings.Repeat("a", 65) + ".0": "has 65 characters",
		"sys.api.blob.size.auth":                              "ends before its <index>",
	} {
		if err := BlobSize.ReadPath(subject, &BlobKey{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", subject, err, want)
		}
	}
	if got := Fill("blob:read:<name>", "auth"); got != "blob:read:auth" {
		t.Errorf("Fill: %s", got)
	}
	if got := LoopBook.Pattern(); got != "sys.loop.*" {
		t.Errorf("Pattern: %s", got)
	}
}

func TestErrors(t *testing.T) {
	err := error(Conflict("no %s", "way").With("a", 1).With("b", 2))
	if !errors.Is(err, &Error{Code: CodeConflict}) || errors.Is(err, &Error{Code: CodeNotFound}) {
		t.Error("Is")
	}
	if e := AsError(err); len(e.Detail) != 2 || err.Error() != "no way (409)" {
		t.Errorf("%v %v", e, e.Detail)
	}
	if e := AsError(errors.New("disk on fire")); e.Code != CodeInternal || e.Message != "disk on fire" {
		t.Errorf("%v", e)
	}
	if q := quote(strings.Repeat("ü", 40)); len(q) > 70 || !strings.HasSuffix(q, "…") {
		t.Errorf("quote: %s", q)
	}
	if NotFound("x").Code != CodeNotFound || Nearest("x", nil) != "" {
		t.Error("NotFound or Nearest")
	}
}

func TestTime(t *testing.T) {
	if d := Micros(1 << 62).Duration(); d <= 0 {
		t.Errorf("a long duration overflows to %v", d)
	}
	if InMicros(time.Second) != 1_000_000 || MonoMicros(5).Sub(2) != 3*time.Microsecond {
		t.Error("InMicros or Sub")
	}
	now := time.Now().Truncate(time.Microsecond)
	if !At(now).Time().Equal(now) {
		t.Error("At")
	}
}

func TestCheckName(t *testing.T) {
	if err := CheckName("blob", "user-A_9"); err != nil {
		t.Error(err)
	}
	for name, want := range map[string]string{
		"":                      "blob name is empty",
		"a.b":                   `has "." in it`,
		"Gerät":                 `blob name "Gerät" has "ä" in it`,
		"a\xff":                 "in it",
		strings.Repeat("a", 65): "has 65 characters; at most 64",
	} {
		if err := CheckName("blob", name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", name, err, want)
		}
	}
}

func TestLongTexts(t *testing.T) {
	long := strings.Repeat("x", MaxText+1)
	for _, c := range []interface{ Check() error }{
		StateWish{Reason: long},
		Abort{Reason: long},
		Registration{About: long},
		Answer{Answer: Defer, Reason: long},
		SetClock{At: 1, Source: long},
		Reboot{Reason: long},
		Booking{Call: "x", ID: long},
		Registration{Session: long},
		Registration{States: make([]State, 21)},
		Booking{Call: "x", Timeout: -1},
		Booking{Call: "x", Deadline: -1},
		Booking{Call: "x", Timeout: MaxRun + 1},
		HistoryQuery{Limit: -1},
		StateWish{Limit: -1},
		BlobRange{Length: new(int64(-1))},
		Booking{Call: "x", Format: "xml"},
	} {
		if c.Check() == nil {
			t.Errorf("%T was taken", c)
		}
	}
	if err := (Booking{Call: "sys.call.a.b", Done: "_INBOX.x.y", ID: "abc"}).Check(); err != nil {
		t.Error(err)
	}
	var s Stamp
	s.SetStamp(Stamp{Seq: 3})
	if s.Seq != 3 {
		t.Error("SetStamp")
	}
}
