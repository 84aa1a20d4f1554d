package daemon

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"muster/system/boot"
	"muster/wire"
)

// TestClockManaged has the daemon set its clock by a server that is a day ahead, as soon as somebody names it.
func TestClockManaged(t *testing.T) {
	r := start(t, t.TempDir(), func(c *Config) { c.Clock = Clock{Mode: "manage", FallBack: true} })
	nc := r.dial()
	told, err := nc.SubscribeSync("sys.network.clock")
	if err != nil {
		t.Fatal(err)
	}
	await(t, nc, wire.CPDPreTime)
	before := state(t, nc)
	name := base64.StdEncoding.EncodeToString([]byte(aheadServer(t, 24*time.Hour)))
	if code := ask(t, nc, "sys.api.blob.set.ntp-server.0", fmt.Sprintf(`{"data":%q}`, name), nil); code != "" {
		t.Fatalf("set: %s", code)
	}
	await(t, nc, wire.Operational)
	after := state(t, nc)
	if ahead := time.Duration(after.At-before.At) * time.Microsecond; ahead < 24*time.Hour || ahead > 24*time.Hour+time.Minute {
		t.Errorf("the clock was set by %v", ahead)
	}
	for change := new(boot.Change); change.New != "valid"; {
		m, err := told.NextMsg(patience)
		if err == nil {
			err = wire.Decode(m.Data, change)
		}
		if err != nil {
			t.Fatalf("told last %+v: %v", change, err)
		}
		if change.New == "valid" && !strings.HasPrefix(change.Reason, "set by ") {
			t.Errorf("valid, for %q", change.Reason)
		}
	}
}

// aheadServer is a server for the time on loopback whose clock is ahead.
func aheadServer(t *testing.T, ahead time.Duration) string {
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
			if n < 48 {
				continue
			}
			const since1900 = 2208988800
			now := time.Now().Add(ahead)
			at := uint64(now.Unix()+since1900)<<32 | uint64(now.Nanosecond())<<32/1e9
			a := make([]byte, 48)
			a[0], a[1] = 4<<3|4, 2
			copy(a[24:32], text[40:48])
			for _, i := range []int{16, 32, 40} {
				binary.BigEndian.PutUint64(a[i:], at)
			}
			_, _ = conn.WriteTo(a, from)
		}
	})
	t.Cleanup(func() { _ = conn.Close(); serving.Wait() })
	return conn.LocalAddr().String()
}
