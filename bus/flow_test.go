package bus

import (
	"context"
	"errors"
	"strings"
	"testing"
)

// TestCommands counts commands however what is sent is cut into parts.
func TestCommands(t *testing.T) {
	payload := strings.Repeat("PUB x 0\r\n\r\n", 10) // no commands, for they are payload
	for text, want := range map[string]int{
		"PING\r\n":                            1,
		"PING\nPONG\r\n":                      2,
		"PING":                                0,
		"CONNECT {}\r\nSUB a 1\r\nPING\r\n":   3,
		"PUB a 0\r\n\r\nPING\r\n":             2,
		"pub a _INBOX.b\t2\r\n\n\n\r\nPING\n": 2,
		"PUB a 110\r\n" + payload + "\r\nPUB b 110\r\n" + payload + "\r\n": 2,
		"HPUB a 12 122\r\nNATS/1.0\r\n\r\n" + payload + "\r\nPING\r\n":     2,
		"SUB a 110\r\n" + payload:                                             11,
		"PUB a -5\r\n\r\n":                                                    2,
		"PUB a 99999999999999999999\r\n\r\n":                                  2,
		"PUB a 3000000\r\n\r\n":                                               2,
		strings.Repeat("x", 2*maxControlLine) + "\r\n":                        1,
		"PUB " + strings.Repeat("x", 2*maxControlLine) + " 110\r\n" + payload: 11,
	} {
		for part := 1; part <= len(text); part += 1 + part {
			var c commands
			got := 0
			for rest := text; rest != ""; {
				n := min(part, len(rest))
				got += c.count([]byte(rest[:n]))
				rest = rest[n:]
			}
			if got != want {
				t.Errorf("%.60q in parts of %d: %d commands, want %d", text, part, got, want)
			}
		}
	}
}

// TestFlow lets through at once what the bounds have room for, and what is above it not before its time.
func TestFlow(t *testing.T) {
	f := newFlow(Bounds{Requests: 10, Bytes: 1000})
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		bytes, commands int
		want            error
	}{
		{1000, 40, nil}, {1000, 0, nil}, {1, 0, context.Canceled}, {0, 1, context.Canceled},
	} {
		ctx := t.Context()
		if tt.want != nil {
			ctx = over // it would wait
		}
		if err := f.pass(ctx, make([]byte, tt.bytes), tt.commands); !errors.Is(err, tt.want) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
	var none *flow
	if err := none.pass(over, make([]byte, 1<<20), 1<<20); err != nil {
		t.Errorf("without a bound: %v", err)
	}
}
