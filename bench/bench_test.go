package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"muster/internal/daemon"
)

func TestRows(t *testing.T) {
	for _, tt := range []struct {
		row  Row
		ok   bool
		line string
	}{
		{compared("a", Pair{130 * time.Microsecond, 100 * time.Microsecond}, 1.3), true, "130 µs 100 1.3 1.3 ok"},
		{compared("a", Pair{131 * time.Microsecond, 100 * time.Microsecond}, 1.3), false, "131 µs 100 1.31 1.3 OVER"},
		{absolute("a", 23.96, "MB", 24), true, "24 MB - - 24 ok"},
		{absolute("a", 24.1, "MB", 24), false, "24.1 MB - - 24 OVER"},
		{absolute("a", 0, "calls", 0), true, "0 calls - - 0 ok"},
		{told("a", 1234567), true, "1230 µs - - - ok"},
	} {
		var out bytes.Buffer
		tt.row.print(&out)
		if got := strings.Join(strings.Fields(out.String())[1:], " "); got != tt.line || tt.row.OK != tt.ok {
			t.Errorf("row is %q, ok %v; want %q", got, tt.row.OK, tt.line)
		}
	}
}

func TestVerdict(t *testing.T) {
	good, bad := told("good", 1), absolute("bad", 2, "µs", 1)
	if err := verdict([]Row{good}); err != nil {
		t.Error(err)
	}
	if err := verdict([]Row{good, bad}); err == nil || !strings.Contains(err.Error(), "1 of 2 rows are over their limits: bad") {
		t.Errorf("verdict is %v", err)
	}
}

func TestWrite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rows.json")
	if err := write(file, []Row{told("a", 1)}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var rows []map[string]any
	if err := json.Unmarshal(text, &rows); err != nil || len(rows) != 1 {
		t.Fatalf("%s: %v", text, err)
	}
	for _, key := range []string{"name", "value", "unit", "baseline", "ratio", "limit", "ok", "command"} {
		if _, there := rows[0][key]; !there {
			t.Errorf("a row has no %s: %s", key, text)
		}
	}
}

func TestMedians(t *testing.T) {
	if got := median([]time.Duration{5, 1, 9, 3}); got != 5 {
		t.Errorf("median is %d, want 5", got)
	}
	if got := mediansOf([][]time.Duration{{1, 30}, {3, 10}, {2, 20}}); got[0] != 2 || got[1] != 20 {
		t.Errorf("medians are %v, want 2 and 20", got)
	}
	if got := middle([]Pair{{30, 10}, {10, 10}, {20, 10}}); got.Value != 20 {
		t.Errorf("the run in the middle is %v, want that with the ratio 2", got)
	}
	turn := ""
	sample := func(name string) sampler {
		return func() (time.Duration, error) { turn += name; return 1, nil }
	}
	if _, err := alternate(3, sample("a"), sample("b")); err != nil || turn != strings.Repeat("ab", warmUp+3) {
		t.Errorf("taken in the order %q, %v", turn, err)
	}
}

func TestChoose(t *testing.T) {
	if all, err := choose(nil); err != nil || len(all) != len(groups) {
		t.Errorf("no name gives %d groups, %v", len(all), err)
	}
	if some, err := choose([]string{"loss", "boot"}); err != nil || len(some) != 2 || some[0].name != "loss" {
		t.Errorf("two names give %v, %v", some, err)
	}
	if _, err := choose([]string{"lost"}); err == nil || !strings.Contains(err.Error(), "growth") {
		t.Errorf("a name that is none: %v", err)
	}
}

// TestBare has a bare server answer two requests at once.
func TestBare(t *testing.T) {
	b, err := openBare()
	if err != nil {
		t.Fatal(err)
	}
	defer b.close()
	if err := b.respond("bare.x", []byte("yes")); err != nil {
		t.Fatal(err)
	}
	if took, err := b.gather([]string{"bare.x", "bare.x"}, []byte("really?"))(); err != nil || took <= 0 {
		t.Errorf("two bare requests took %v, %v", took, err)
	}
}

// TestEnter has a participant let in by his key, and nobody let in who signs with another one.
func TestEnter(t *testing.T) {
	p, err := newParticipant()
	if err != nil {
		t.Fatal(err)
	}
	other, err := newParticipant()
	if err != nil {
		t.Fatal(err)
	}
	config := daemon.DefaultConfig()
	config.Roles = append(config.Roles, p.role)
	s, err := openStageWith(config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}()
	if took, err := enter(s.url, &p)(); err != nil || took <= 0 {
		t.Errorf("a participant is let in after %v, %v", took, err)
	}
	if _, err := enter(s.url, &other)(); err == nil {
		t.Error("a key that no role names is let in")
	}
	other.public = p.public
	if _, err := enter(s.url, &other)(); err == nil {
		t.Error("a participant is let in by somebody else's signature")
	}
}
