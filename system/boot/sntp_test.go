package boot

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"muster/wire"
)

// hostClock is the clock of this machine, which nobody sets.
type hostClock struct{}

func (hostClock) Now() (wire.UnixMicros, wire.MonoMicros) { return wire.Now() }

// timeServer answers questions for the time on loopback, each with what answer makes of it; nil is silence.
func timeServer(t *testing.T, answer func(question []byte) []byte) string {
	t.Helper()
	conn, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for text := make([]byte, 1024); ; {
			n, from, err := conn.ReadFrom(text)
			if err != nil {
				return
			}
			if a := answer(text[:n]); a != nil {
				_, _ = conn.WriteTo(a, from)
			}
		}
	})
	t.Cleanup(func() { _ = conn.Close(); serving.Wait() })
	return conn.LocalAddr().String()
}

// ntpTime is a time as the protocol writes it.
func ntpTime(at time.Time) uint64 {
	const since1900 = 2208988800
	return uint64(at.Unix()+since1900)<<32 | uint64(float64(at.Nanosecond())/1e9*math.MaxUint32)
}

// honest is the answer of a good server of stratum 2 that is off by so much.
func honest(question []byte, off time.Duration) []byte {
	a := make([]byte, 48)
	now := ntpTime(time.Now().Add(off))
	a[0], a[1], a[2], a[3] = 4<<3|4, 2, 6, 0xec // version 4, server
	binary.BigEndian.PutUint64(a[16:], now-1<<32)
	copy(a[24:32], question[40:48]) // the origin
	binary.BigEndian.PutUint64(a[32:], now)
	binary.BigEndian.PutUint64(a[40:], now)
	return a
}

// changed is the answer of a good server with other bytes from some place on.
func changed(at int, with ...byte) func([]byte) []byte {
	return func(q []byte) []byte {
		a := honest(q, 0)
		copy(a[at:], with)
		return a
	}
}

// TestSNTP asks a server that tells the truth, and one that is off.
func TestSNTP(t *testing.T) {
	for _, off := range []time.Duration{0, 3 * time.Hour, -50 * 365 * 24 * time.Hour, 60 * 365 * 24 * time.Hour} {
		server := timeServer(t, func(q []byte) []byte { return honest(q, off) })
		r, err := SNTP{Clock: hostClock{}}.Ask(t.Context(), server)
		if err != nil {
			t.Fatal(err)
		}
		_, now := wire.Now()
		if wrong := time.Until(r.at(now)) - off; wrong.Abs() > r.Bound+5*time.Second {
			t.Errorf("off by %v, the reading says %v, wrong by %v", off, r.at(now), wrong)
		}
		if r.Error < 0 || r.Error > askBudget || r.Bound < r.Error {
			t.Errorf("the reading may be wrong by %v and by %v in all", r.Error, r.Bound)
		}
	}
}

// TestSNTPLies asks servers that are of no use.
func TestSNTPLies(t *testing.T) {
	for name, c := range map[string]struct {
		answer func([]byte) []byte
		want   string
	}{
		"another's origin":    {changed(24, 1, 2, 3, 4, 5, 6, 7, 8), "server response didn't match request"},
		"no origin":           {changed(24, 0, 0, 0, 0, 0, 0, 0, 0), "server response didn't match request"},
		"left alone":          {changed(1, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 'R', 'A', 'T', 'E'), "it wants to be left alone, RATE"},
		"left alone, no code": {changed(1, 0), "it wants to be left alone"},
		"stratum 16":          {changed(1, 16), "invalid stratum in response"},
		"not synchronised":    {changed(0, 3<<6|4<<3|4), "invalid leap second in response"},
		"version 5, no leap":  {changed(0, 3<<6|5<<3|4), "it answers in version 5 of the protocol, asked in 4"},
		"a client":            {changed(0, 4<<3|3), "invalid mode in response"},
		"no time":             {changed(32, make([]byte, 16)...), "invalid transmit time in response"},
		"ticked backwards":    {changed(32, 0xff, 0xff, 0xff), "server clock ticked backwards"},
		"far from the root":   {changed(4, 0, 4, 0, 0), "it may be wrong by 2"},
		"much dispersion":     {changed(8, 0, 20, 0, 0), "invalid dispersion in response"},
		"asleep for two days": {func(q []byte) []byte {
			a := honest(q, 0)
			binary.BigEndian.PutUint64(a[16:], ntpTime(time.Now().Add(-48*time.Hour)))
			return a
		}, "server clock not fresh"},
		"truncated":            {func(q []byte) []byte { return honest(q, 0)[:47] }, "it answers 47 bytes; 48 would be right"},
		"poll of 2^-128 s":     {changed(2, 0x80), "byte 2 of its answer is 2^-128 s, which cannot be"},
		"precision of 2^127 s": {changed(3, 0x7f), "byte 3 of its answer is 2^127 s, which cannot be"},
		"empty":                {func([]byte) []byte { return []byte{} }, "it answers 0 bytes; 48 would be right"},
		"garbage":              {func([]byte) []byte { return []byte(strings.Repeat("HTTP/1.1 200 OK\r\n", 20)) }, "which cannot be"},
		"the question, echoed": {func(q []byte) []byte { return q }, "invalid mode in response"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := SNTP{Clock: hostClock{}}.Ask(t.Context(), timeServer(t, c.answer))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%+v, %v; want %q", r, err, c.want)
			}
			if kissed(err) != strings.HasPrefix(name, "left alone") {
				t.Errorf("a wish to be left alone: %v, of %v", kissed(err), err)
			}
		})
	}
}

// TestSNTPSilence asks where nobody is, and where nobody answers: it ends with its context.
func TestSNTPSilence(t *testing.T) {
	nobody := nobodyAt(t, "udp")
	if _, err := (SNTP{Clock: hostClock{}}).Ask(t.Context(), nobody); err == nil || !strings.Contains(err.Error(), "connection refused") || strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("where nobody is: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	server := timeServer(t, func([]byte) []byte { cancel(); return nil })
	if _, err := (SNTP{Clock: hostClock{}}).Ask(ctx, server); err == nil {
		t.Error("an answer was heard that nobody gave")
	}
	if _, err := (SNTP{Clock: hostClock{}}).Ask(t.Context(), "[::1"); err == nil {
		t.Error("an answer was heard from nowhere")
	}
}

// FuzzSNTP answers a question with anything, under the right origin: what is taken is within its bounds.
func FuzzSNTP(f *testing.F) {
	good := honest(make([]byte, 48), 0)
	f.Add(good)
	f.Add(good[:47])
	f.Add(append(good[:48:48], 0, 0, 0, 1))
	f.Add(changed(1, 0)(make([]byte, 48)))
	f.Add([]byte{5<<3 | 4})
	f.Fuzz(func(t *testing.T, a []byte) {
		sntp := SNTP{Clock: hostClock{}, dial: func(context.Context, string, string) (net.Conn, error) { return &answered{answer: bytes.Clone(a)}, nil }}
		r, err := sntp.Ask(t.Context(), "x")
		if err == nil && (r.Bound < 0 || r.Bound > worstBound || r.Error < 0 || r.Error > askBudget) {
			t.Errorf("%x is read as %+v", a, r)
		}
	})
}

// answered is a connection to somebody who has one answer, and puts the right origin into it.
type answered struct {
	net.Conn

	answer []byte
}

func (c *answered) Write(question []byte) (int, error) {
	if len(c.answer) >= 32 {
		copy(c.answer[24:32], question[40:48])
	}
	return len(question), nil
}

func (c *answered) Read(into []byte) (int, error) { return copy(into, c.answer), nil }
func (*answered) SetDeadline(time.Time) error     { return nil }
func (*answered) Close() error                    { return nil }
