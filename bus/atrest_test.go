package bus_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"muster/bus"
	"muster/bus/bustest"
	"muster/wire"
)

// marker stands in every value that a test stores, so that it can be looked for on the disk.
const marker = "MarkerText"

// storeKey is that of the stores of these tests.
const storeKey = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0"

// store is a store at rest.
type store struct {
	t   *testing.T
	dir string
	log bytes.Buffer
}

func (s *store) options(key string) bus.Options {
	return bus.Options{
		Dir: s.dir, Listen: "127.0.0.1:0", Boot: "1-test", Clock: bustest.Clock{}, Key: key,
		Log: slog.New(slog.NewTextHandler(&s.log, &slog.HandlerOptions{Level: slog.LevelError})),
	}
}

// with runs a bus on the store.
func (s *store) with(key string, use func(*bus.Bus, *bus.Bucket, *bus.Queue)) {
	s.t.Helper()
	b, err := bus.Open(s.options(key))
	if err != nil {
		s.t.Fatal(err)
	}
	if err := b.Listen(); err != nil {
		s.t.Fatal(err)
	}
	k, err := b.Bucket(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	q, err := b.Queue(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	use(b, k, q)
	if err := b.Close(); err != nil {
		s.t.Fatal(err)
	}
}

const (
	stored = 40      // values, bookings and events of a store
	small  = 100     // bytes of a value
	large  = 250_000 // so many that there are several blocks
)

// fill makes a store with something of everything in it.
func fill(t *testing.T, key string, size int) *store {
	t.Helper()
	s := &store{t: t, dir: t.TempDir()}
	s.with(key, func(b *bus.Bus, k *bus.Bucket, q *bus.Queue) {
		for i := range stored {
			n := strconv.Itoa(i)
			value := marker + n + strings.Repeat("x", size)
			if _, err := k.Put(t.Context(), "user-"+n+".0", []byte(value), "d", 0); err != nil {
				t.Fatal(err)
			}
			if err := q.Put(t.Context(), "i."+n, []byte(marker+n)); err != nil {
				t.Fatal(err)
			}
			b.Keep("sys.state", &wire.StateEvent{Number: i, Reason: marker})
		}
		if err := q.Delete("i.7"); err != nil {
			t.Fatal(err)
		}
	})
	return s
}

// check finds everything in the store again, except what a test says is lost.
func (s *store) check(key string, bucketToo bool) {
	s.t.Helper()
	t := s.t
	s.with(key, func(b *bus.Bus, k *bus.Bucket, q *bus.Queue) {
		for i := range stored {
			n := strconv.Itoa(i)
			r, err := k.Get(t.Context(), "user-"+n+".0")
			if bucketToo && (err != nil || !strings.HasPrefix(string(r.Value), marker+n+"x") || r.Revision != uint64(i+1)) {
				t.Errorf("value %d: revision %d of %d bytes, %v", i, r.Revision, len(r.Value), err)
			}
		}
		data, keys, err := q.Load(t.Context())
		if err != nil || len(keys) != stored-1 || string(data["i.39"]) != marker+"39" || slices.Contains(keys, "i.7") {
			t.Errorf("%d bookings, %v", len(keys), err)
		}
		js, err := jetstream.New(bustest.Dial(t, b))
		if err != nil {
			t.Fatal(err)
		}
		events, err := js.Stream(t.Context(), wire.EventsStream)
		if err != nil {
			t.Fatal(err)
		}
		last, err := events.GetLastMsgForSubject(t.Context(), "sys.state")
		if err != nil || last.Sequence != stored {
			t.Errorf("last event %v, %v", last, err)
		}
	})
}

// files gives the content of every file below the folder.
func (s *store) files() map[string]string {
	s.t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(s.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		files[strings.TrimPrefix(path, s.dir+"/")] = string(content)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return files
}

// plain lists the files in which the marker stands.
func (s *store) plain() []string {
	var list []string
	for path, content := range s.files() {
		if strings.Contains(content, marker) {
			list = append(list, path)
		}
	}
	return list
}

// streamPath is where a stream's files are.
func streamPath(stream, file string) string {
	return filepath.Join("store", "jetstream", "MUSTER", "streams", stream, file)
}

// flip changes one bit in the middle.
func flip(content []byte) []byte {
	content[len(content)/2] ^= 1
	return content
}

// damage changes a file.
func (s *store) damage(path string, change func([]byte) []byte) {
	s.t.Helper()
	path = filepath.Join(s.dir, path)
	content, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	if content = change(content); content == nil {
		err = os.Remove(path)
	} else {
		err = os.WriteFile(path, content, 0o600)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func TestLook(t *testing.T) {
	s := fill(t, storeKey, small)
	if list := s.plain(); len(list) > 0 {
		t.Errorf("in plain: %v", list)
	}
	before := s.files()
	look := func(key string) bus.Survey {
		t.Helper()
		found, err := bus.Look(s.dir, key)
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	right := look(storeKey)
	if right.Opened < 6 || len(right.Closed) > 0 || len(right.Plain) > 0 || !right.Sealed() {
		t.Errorf("with the key: %+v", right)
	}
	for _, key := range []string{"", "another"} {
		if wrong := look(key); wrong.Opened > 0 || len(wrong.Closed) != right.Opened || !wrong.Sealed() {
			t.Errorf("with the key %q: %+v", key, wrong)
		}
	}
	if !maps.Equal(before, s.files()) {
		t.Error("a look has changed something")
	}
	for i, change := range []func([]byte) []byte{flip, func([]byte) []byte { return []byte{} }} {
		key := streamPath("SYS_LOOP", []string{"msgs/1.key", "meta.key"}[i])
		s.damage(key, change)
		if one := look(storeKey); one.Opened != right.Opened-i-1 || !slices.Contains(one.Closed, filepath.Join(s.dir, key)) {
			t.Errorf("with %s damaged: %+v", key, one)
		}
	}

	s = fill(t, "", small)
	if found := look(storeKey); found.Sealed() || !slices.Equal(found.Plain, []string{"KV_SYS_BLOBS", "SYS_EVENTS", "SYS_LOOP"}) {
		t.Errorf("a plain store: %+v", found)
	}
	if len(s.plain()) < 3 {
		t.Errorf("in plain only %v; a test that looks for the marker could not fail", s.plain())
	}
	s = &store{t: t, dir: t.TempDir()}
	if found := look(storeKey); found.Sealed() || len(found.Plain) > 0 {
		t.Errorf("no store: %+v", found)
	}
}

// TestMend damages each file that tells the server what a stream is; none of its messages may be lost for that.
func TestMend(t *testing.T) {
	empty := func([]byte) []byte { return []byte{} }
	zero := func(b []byte) []byte { return make([]byte, len(b)) }
	gone := func([]byte) []byte { return nil }
	for key, files := range map[string][]string{"": {"meta.inf", "meta.sum"}, storeKey: {"meta.inf", "meta.sum", "meta.key"}} {
		whole := fill(t, key, small)
		for _, file := range files {
			for how, change := range map[string]func([]byte) []byte{"flip": flip, "empty": empty, "zero": zero, "gone": gone} {
				t.Run(file+" "+how+" "+key, func(t *testing.T) {
					s := &store{t: t, dir: t.TempDir()}
					if err := os.CopyFS(s.dir, os.DirFS(whole.dir)); err != nil {
						t.Fatal(err)
					}
					for _, stream := range []string{"SYS_EVENTS", "KV_SYS_BLOBS", "SYS_LOOP"} {
						s.damage(streamPath(stream, file), change)
					}
					damaged := s.files()
					s.check(key, true)
					if count := strings.Count(s.log.String(), "stream damaged: the server did not recover it"); count != 3 {
						t.Errorf("told %d times:\n%s", count, s.log.String())
					}
					block := "msgs/1.blk"
					if kept := s.files()[filepath.Join("damaged", "SYS_LOOP", block)]; kept == "" || kept != damaged[streamPath("SYS_LOOP", block)] {
						t.Errorf("kept aside are %d bytes", len(kept))
					}
					s.log.Reset()
					s.check(key, true)
					if s.log.Len() > 0 {
						t.Errorf("mended, and yet: %s", s.log.String())
					}
				})
			}
		}
	}
}

// TestHalfMade has the power fail while a stream is made.
func TestHalfMade(t *testing.T) {
	s := &store{t: t, dir: t.TempDir()}
	for _, file := range []string{"msgs/1.blk", "msgs/1.key.tmp", "obs/x"} {
		path := filepath.Join(s.dir, streamPath("SYS_LOOP", file))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	s.with(storeKey, func(_ *bus.Bus, _ *bus.Bucket, q *bus.Queue) {
		if err := q.Put(t.Context(), "i.a", []byte(marker)); err != nil {
			t.Fatal(err)
		}
	})
	if s.log.Len() > 0 {
		t.Errorf("log %s", s.log.String())
	}
	if found, err := bus.Look(s.dir, storeKey); err != nil || len(found.Plain)+len(found.Closed) > 0 {
		t.Errorf("%+v, %v", found, err)
	}
}

// TestNothingLeft has a stream of which nothing can be read.
func TestNothingLeft(t *testing.T) {
	s := fill(t, storeKey, small)
	nonsense := func(b []byte) []byte { return bytes.Repeat([]byte("z"), len(b)) }
	for _, file := range []string{"meta.inf", "meta.key", "msgs/1.key", "msgs/1.blk"} {
		s.damage(streamPath("SYS_LOOP", file), nonsense)
	}
	s.with(storeKey, func(_ *bus.Bus, _ *bus.Bucket, q *bus.Queue) {
		if _, keys, err := q.Load(t.Context()); err != nil || len(keys) > 0 {
			t.Errorf("bookings %v, %v", keys, err)
		}
		if err := q.Put(t.Context(), "i.a", []byte(marker)); err != nil {
			t.Error(err)
		}
	})
	if kept := s.files()[filepath.Join("damaged", "SYS_LOOP", "meta.key")]; kept != strings.Repeat("z", 64) {
		t.Errorf("kept %q", kept)
	}
}

func encrypt(s *store) error {
	return bus.Encrypt(context.WithoutCancel(s.t.Context()), s.options(storeKey))
}

func TestEncrypt(t *testing.T) {
	s := fill(t, "", large)
	if _, several := s.files()[streamPath("KV_SYS_BLOBS", "msgs/2.blk")]; !several {
		t.Fatal("the store has a single block")
	}
	if err := encrypt(s); err != nil {
		t.Fatal(err)
	}
	if list := s.plain(); len(list) > 0 {
		t.Errorf("still in plain: %v", list)
	}
	if found, err := bus.Look(s.dir, storeKey); err != nil || len(found.Plain) > 0 || len(found.Closed) > 0 || found.Opened < 6 {
		t.Errorf("%+v, %v", found, err)
	}
	s.check(storeKey, true)
	if entries, err := os.ReadDir(s.dir); err != nil || len(entries) != 1 || s.log.Len() > 0 {
		t.Errorf("beside the store: %v, %v, log %s", entries, err, s.log.String())
	}
}

// TestEncryptInterrupted has the power fail at each step of it.
func TestEncryptInterrupted(t *testing.T) {
	done := fill(t, "", small)
	if err := encrypt(done); err != nil {
		t.Fatal(err)
	}
	move := func(from, to string) error {
		return errors.Join(os.MkdirAll(filepath.Dir(to), 0o700), os.Rename(from, to))
	}
	for name, cut := range map[string]func(dir string) error{
		"while the store is copied": func(dir string) error {
			return os.MkdirAll(filepath.Join(dir, "encrypting", ".tmp-1", "jetstream"), 0o700)
		},
		"while the copy is encrypted": func(dir string) error {
			return os.CopyFS(filepath.Join(dir, "encrypting", "store"), os.DirFS(filepath.Join(dir, "store")))
		},
		"when the store is taken away": func(dir string) error {
			return errors.Join(
				move(filepath.Join(dir, "store"), filepath.Join(dir, "encrypting", "replaced")),
				os.CopyFS(filepath.Join(dir, "encrypting", "store"), os.DirFS(filepath.Join(done.dir, "store"))))
		},
		"when the copy is in its place": func(dir string) error {
			return errors.Join(
				move(filepath.Join(dir, "store"), filepath.Join(dir, "encrypting", "replaced")),
				os.CopyFS(filepath.Join(dir, "store"), os.DirFS(filepath.Join(done.dir, "store"))))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := fill(t, "", small)
			if err := errors.Join(cut(s.dir), bus.Resume(s.dir), bus.Resume(s.dir)); err != nil {
				t.Fatal(err)
			}
			found, err := bus.Look(s.dir, storeKey)
			if err != nil {
				t.Fatal(err)
			}
			if len(found.Plain) > 0 {
				err = encrypt(s)
			}
			if list := s.plain(); err != nil || len(list) > 0 {
				t.Errorf("still in plain: %v, %v", list, err)
			}
			s.check(storeKey, true)
		})
	}
}

// TestEncryptDamaged encrypts what is not whole: the server would drop all of it.
func TestEncryptDamaged(t *testing.T) {
	s := fill(t, "", small)
	s.with("", func(b *bus.Bus, _ *bus.Bucket, _ *bus.Queue) {
		js, err := jetstream.New(bustest.Dial(t, b))
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "THEIRS"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := theirs.PutString(t.Context(), "x", marker); err != nil {
			t.Fatal(err)
		}
	})
	s.damage(streamPath("KV_THEIRS", "meta.inf"), flip)
	s.damage(streamPath("SYS_LOOP", "meta.inf"), flip)
	s.damage(streamPath("KV_SYS_BLOBS", "msgs/1.blk"), flip)
	if err := encrypt(s); err != nil {
		t.Fatal(err)
	}
	s.check(storeKey, false)
	s.with(storeKey, func(_ *bus.Bus, k *bus.Bucket, _ *bus.Queue) {
		if keys, err := k.Keys(t.Context()); err != nil || len(keys) < stored/2-2 || len(keys) == stored {
			t.Errorf("%d values are left, %v", len(keys), err)
		}
	})
	for _, path := range s.plain() {
		if !strings.HasPrefix(path, "damaged/") {
			t.Errorf("still in plain: %s", path)
		}
	}
	if !strings.Contains(s.files()["damaged/KV_THEIRS/msgs/1.blk"], marker) || !strings.Contains(s.log.String(), "stream=KV_THEIRS kept="+filepath.Join(s.dir, "damaged", "KV_THEIRS")) {
		t.Errorf("another's stream is not kept; log:\n%s", s.log.String())
	}

	// Encrypting again what is encrypted in part costs nothing.
	s.damage(streamPath("SYS_EVENTS", "meta.key"), func([]byte) []byte { return nil })
	if found, err := bus.Look(s.dir, storeKey); err != nil || !slices.Equal(found.Plain, []string{"SYS_EVENTS"}) {
		t.Fatalf("%+v, %v", found, err)
	}
	if err := encrypt(s); err != nil {
		t.Fatal(err)
	}
	s.check(storeKey, false)
}
