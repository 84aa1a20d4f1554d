package bus

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestServerLog(t *testing.T) {
	var out bytes.Buffer
	l := &serverLog{log: slog.New(slog.NewTextHandler(&out, nil))}
	name := `x - \"%[1]999999s`
	for i := range 250 {
		who := fmt.Sprintf("127.0.0.1:%d - cid:%d - %q - %q - ", 1024+i, i, "v1:go:"+name, "LOCAL-ADMIN/user:local-admin")
		l.Errorf(who+"Publish Violation - Subject %q", "sys.state")
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 3 || !strings.Contains(lines[2], "count=100") {
		t.Errorf("250 lines of one kind became %d:\n%.2000s", len(lines), out.String())
	}
	if out.Len() > 3000 || !strings.Contains(lines[0], "cid:0") || !strings.Contains(lines[0], "sys.state") {
		t.Errorf("a client's name is taken for a format: %d bytes:\n%.2000s", out.Len(), out.String())
	}
	out.Reset()
	l.Noticef("127.0.0.1:5 - cid:9 - Slow Consumer %s: WriteDeadline of %v exceeded", "Detected", "5s")
	l.Noticef("Listening for client connections")
	if got := out.String(); !strings.Contains(got, "level=WARN") || !strings.Contains(got, "cid:9") || strings.Contains(got, "Listening") {
		t.Errorf("a slow consumer's end is not told, or small talk is: %s", got)
	}
}

func TestTally(t *testing.T) {
	var c tally[int]
	var worth []uint64
	for range 1234 {
		if n, ok := c.add(7); ok {
			worth = append(worth, n)
		}
	}
	if fmt.Sprint(worth) != "[1 10 100 1000]" {
		t.Errorf("lines at %v", worth)
	}
	for i := range 3 * maxKinds {
		c.add(i)
	}
	if len(c.kinds) > maxKinds || c.sum() != 1234+3*maxKinds {
		t.Errorf("%d kinds are kept, %d counted", len(c.kinds), c.sum())
	}
}
