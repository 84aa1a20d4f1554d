package bus

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"muster/wire"
)

// flipNumber flips a bit in the number of a stream's second message.
func flipNumber(t *testing.T, dir, stream, key string, bit int) {
	t.Helper()
	path := filepath.Join(dir, "store", "jetstream", ownAccount, "streams", stream, "msgs", "1.blk")
	plain, err := readBlock(path, key)
	if err != nil {
		t.Fatal(err)
	}
	second := binary.LittleEndian.Uint32(plain) &^ hasHeaders
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content[int(second)+4+bit/8] ^= 1 << (bit % 8)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestDistrust flips bits in the numbers of messages. The server alone counts up to them for ever.
func TestDistrust(t *testing.T) {
	for _, key := range []string{"", "encrypted"} {
		for _, bit := range []int{3, 28, 40, 55, 61, 62, 63} {
			t.Run(fmt.Sprint(bit, " ", key), func(t *testing.T) {
				var log strings.Builder
				opts := Options{Dir: t.TempDir(), Listen: "127.0.0.1:0", Boot: "1-test", Clock: wallClock{}, Key: key, Log: slog.New(slog.NewTextHandler(&log, nil))}
				use := func(f func(*Bus, *Bucket, *Queue)) {
					b, err := Open(opts)
					if err != nil {
						t.Fatal(err)
					}
					k, err := b.Bucket(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					q, err := b.Queue(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					f(b, k, q)
					if err := b.Close(); err != nil {
						t.Fatal(err)
					}
				}
				use(func(b *Bus, k *Bucket, q *Queue) {
					for i := range 4 {
						if _, err := k.Put(t.Context(), fmt.Sprintf("user-%d.0", i), []byte("value"), "d", 0); err != nil {
							t.Fatal(err)
						}
						if err := q.Put(t.Context(), fmt.Sprint("i.", i), []byte("booking")); err != nil {
							t.Fatal(err)
						}
						b.Keep("sys.state", &wire.StateEvent{Number: i})
					}
				})
				for _, stream := range []string{bucketStream, queueStream, wire.EventsStream} {
					flipNumber(t, opts.Dir, stream, key, bit)
				}
				use(func(_ *Bus, k *Bucket, q *Queue) {
					if r, err := k.Get(t.Context(), "user-0.0"); err != nil || string(r.Value) != "value" {
						t.Errorf("the value before: %q, %v", r.Value, err)
					}
					data, _, err := q.Load(t.Context())
					if err != nil || string(data["i.0"]) != "booking" {
						t.Errorf("bookings %q, %v", data, err)
					}
					if _, err := k.Put(t.Context(), "user-new.0", []byte("new"), "d", 0); err != nil {
						t.Error(err)
					}
				})
				if told := strings.Count(log.String(), "a block of the store is damaged"); (told == 3) != (bit >= 20 && bit < 62) {
					t.Errorf("told %d times:\n%s", told, log.String())
				}
			})
		}
	}
}

// record makes a message as it stands in a block.
func record(number uint64, size int) []byte {
	r := make([]byte, recordLeast+size)
	binary.LittleEndian.PutUint32(r, uint32(len(r)))
	binary.LittleEndian.PutUint64(r[4:], number)
	return r
}

func TestOrderly(t *testing.T) {
	block := func(numbers ...uint64) (b []byte) {
		for _, n := range numbers {
			b = append(b, record(n, 10)...)
		}
		return b
	}
	for name, tt := range map[string]struct {
		block []byte
		want  bool
	}{
		"empty":               {nil, true},
		"in a row":            {block(7, 8, 9), true},
		"with gaps":           {block(1, 5, 100_000), true},
		"that begins late":    {block(1<<40, 1<<40+1), true},
		"with marks":          {block(5, 2|isTombstone, 6|wasErased, 6), true},
		"compressed":          {[]byte("cmp and so on"), true},
		"with a leap":         {block(7, 7+longestLeap+1), false},
		"cut":                 {block(7, 8)[:60], false},
		"with a rest":         {append(block(7), 1, 2, 3), false},
		"of a length too low": {append(block(7), make([]byte, 40)...), false},
	} {
		if got := orderly(tt.block); got != tt.want {
			t.Errorf("a block %s is orderly: %v", name, got)
		}
	}
}

func FuzzOrderly(f *testing.F) {
	f.Add(append(record(1, 5), record(2, 0)...))
	f.Fuzz(func(t *testing.T, block []byte) {
		if !bytes.HasPrefix(block, []byte("cmp")) && len(block) > 0 && orderly(block) && orderly(block[:len(block)-1]) {
			t.Errorf("%x is orderly with and without its last byte", block)
		}
	})
}
