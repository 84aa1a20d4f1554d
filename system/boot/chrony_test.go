package boot

import (
	"encoding/binary"
	"net"
	"slices"
	"testing"
)

// tracking is an answer of a chronyd that follows a source.
func tracking(number uint32) []byte {
	a := make([]byte, trackingLength)
	a[0], a[1] = chronyVersion, chronyReply
	binary.BigEndian.PutUint16(a[4:], askTracking)
	binary.BigEndian.PutUint16(a[6:], tellTracking)
	binary.BigEndian.PutUint32(a[16:], number)
	binary.BigEndian.PutUint32(a[28:], 0xc0000202)
	binary.BigEndian.PutUint16(a[52:], 3)
	return a
}

// TestChronyFollows plays chronyd, which follows a source, follows none, or lies.
func TestChronyFollows(t *testing.T) {
	with := func(at int, values ...byte) func([]byte) []byte {
		return func(a []byte) []byte { copy(a[at:], values); return a }
	}
	for name, c := range map[string]struct {
		change func(answer []byte) []byte
		want   bool
	}{
		"follows a source":            {with(0), true},
		"a leap second is due":        {with(54, 0, 1), true},
		"follows none":                {with(54, 0, 3), false},
		"has no reference":            {with(28, 0, 0, 0, 0), false},
		"is its own source":           {with(28, 0x7f, 0x7f, 1, 1), false},
		"stratum of nobody":           {with(52, 0, 16), false},
		"no stratum":                  {with(52, 0, 0), false},
		"refuses":                     {with(8, 0, 2), false},
		"speaks another version":      {with(0, 5), false},
		"sends the request back":      {with(1, chronyRequest), false},
		"answers something else":      {with(6, 0, 6), false},
		"answers another question":    {with(4, 0, 34), false},
		"answers an earlier question": {with(16, 1, 2, 3, 4), false},
		"says half of it":             {func(a []byte) []byte { return a[:trackingLength-1] }, false},
		"says nothing in particular":  {func([]byte) []byte { return nil }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			daemon, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				var question [1024]byte
				n, from, err := daemon.ReadFromUDP(question[:])
				if err != nil {
					return
				}
				number := binary.BigEndian.Uint32(question[8:])
				if !slices.Equal(question[:n], trackingQuestion(number)) {
					t.Errorf("asked with %x", question[:n])
				}
				_, _ = daemon.WriteToUDP(c.change(tracking(number)), from) // who does not hear it says so
			}()
			t.Cleanup(func() { _ = daemon.Close(); <-done })
			if got := chronyFollows(daemon.LocalAddr().String()); got != c.want {
				t.Errorf("it follows: %v, want %v", got, c.want)
			}
		})
	}
}

// TestChronyMissing asks where nobody is.
func TestChronyMissing(t *testing.T) {
	nobody, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	address := nobody.LocalAddr().String()
	_ = nobody.Close()
	if chronyFollows(address) {
		t.Error("nobody follows")
	}
}

// FuzzChrony has chronyd answer whatever comes.
func FuzzChrony(f *testing.F) {
	f.Add(tracking(7))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, answer []byte) {
		if followsSource(answer, 7) && (len(answer) < trackingLength || binary.BigEndian.Uint32(answer[16:]) != 7) {
			t.Error("an answer is believed that is none")
		}
	})
}
