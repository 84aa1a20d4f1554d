package blobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"muster/wire"
)

// shelf is a store and a folder of snapshots in memory, which can be told to fail.
type shelf struct {
	records map[string]Record
	last    uint64
	files   map[string][]byte
	fail    error  // of the next snapshot
	full    error  // of every draft of one
	drafts  int    // that are open
	cross   func() // runs before the next Put, as another client would
}

func newShelf() *shelf { return &shelf{records: map[string]Record{}, files: map[string][]byte{}} }

func (s *shelf) Get(_ context.Context, key string) (Record, error) {
	r, ok := s.records[key]
	if !ok {
		return r, ErrNoRecord
	}
	return r, nil
}

func (s *shelf) Put(_ context.Context, key string, value []byte, digest string, expect uint64) (uint64, error) {
	if cross := s.cross; cross != nil {
		s.cross = nil
		cross()
	}
	if s.records[key].Revision != expect {
		return 0, ErrStale
	}
	s.last++
	s.records[key] = Record{Value: bytes.Clone(value), Digest: digest, Revision: s.last}
	return s.last, nil
}

func (s *shelf) Reset(_ context.Context, above uint64) error {
	clear(s.records)
	s.last = above
	return nil
}

func (s *shelf) Keys(context.Context) ([]string, error) {
	return slices.Sorted(maps.Keys(s.records)), nil
}
func (s *shelf) LastRevision(context.Context) (uint64, error) { return s.last, nil }

func (s *shelf) Save(name string, data []byte) error {
	if err := s.fail; err != nil {
		s.fail = nil
		return err
	}
	s.files[name] = data
	return nil
}

func (s *shelf) Draft(name string, _ []byte) (func([]byte) error, func() error, error) {
	if err := s.full; err != nil {
		return nil, nil, err
	}
	s.drafts++
	commit := func(data []byte) error {
		s.drafts--
		return s.Save(name, data)
	}
	return commit, func() error { s.drafts--; return nil }, nil
}

func (s *shelf) Load(name string) ([]byte, error) {
	if data, ok := s.files[name]; ok {
		if data == nil {
			return nil, errors.New("damaged")
		}
		return data, nil
	}
	return nil, fs.ErrNotExist
}
func (s *shelf) List() ([]string, error)  { return slices.Sorted(maps.Keys(s.files)), nil }
func (s *shelf) Remove(name string) error { delete(s.files, name); return nil }

func open(t testing.TB, s *shelf) (*Blobs, []Repair) {
	t.Helper()
	b := New(Options{Store: s, Snapshots: s})
	repairs, err := b.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return b, repairs
}

var serial = wire.BlobKey{Name: "device-serial"}

func set(t testing.TB, b *Blobs, k wire.BlobKey, text string) wire.BlobWritten {
	t.Helper()
	w, err := b.Set(t.Context(), wire.Internal, wire.BlobWrite{BlobKey: k, Data: []byte(text)})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func get(t testing.TB, b *Blobs, k wire.BlobKey) string {
	t.Helper()
	p, err := b.Get(t.Context(), wire.Internal, wire.BlobRange{BlobKey: k})
	if err != nil {
		t.Fatal(err)
	}
	return string(p.Data)
}

func code(err error) wire.Code {
	if err == nil {
		return 0
	}
	return wire.AsError(err).Code
}

func TestReadAndWrite(t *testing.T) {
	var events []string
	s := newShelf()
	b := New(Options{Store: s, Snapshots: s, Changed: func(k wire.BlobKey, revision uint64, size int64) {
		events = append(events, fmt.Sprintf("%s@%d %d", keyOf(k), revision, size))
	}})
	if get(t, b, serial) != "" || get(t, b, wire.BlobKey{Name: "ntp-server"}) != "pool.ntp.org" {
		t.Error("what is not set")
	}
	set(t, b, serial, "abc")
	if w, err := b.Append(t.Context(), wire.Internal, wire.BlobTail{BlobKey: serial, Data: []byte("defg")}); err != nil || w.Size != 7 || w.Revision != 2 {
		t.Errorf("append: %+v, %v", w, err)
	}
	for _, tt := range []struct {
		offset, length int64
		want           string
		code           wire.Code
	}{{2, 4, "cdef", 0}, {0, -1, "abcdefg", 0}, {5, 100, "fg", 0}, {6, 0, "", 0}, {7, 1, "", 400}, {99, 1, "", 400}} {
		r := wire.BlobRange{BlobKey: serial, Offset: tt.offset}
		if tt.length >= 0 {
			r.Length = &tt.length
		}
		if p, err := b.Get(t.Context(), wire.Internal, r); string(p.Data) != tt.want || code(err) != tt.code {
			t.Errorf("from %d, %d bytes: %q, %v", tt.offset, tt.length, p.Data, err)
		}
	}
	stale := uint64(1)
	if _, err := b.Set(t.Context(), wire.Internal, wire.BlobWrite{BlobKey: serial, Revision: &stale}); code(err) != wire.CodeConflict {
		t.Errorf("a stale revision: %v", err)
	}
	if _, err := b.Append(t.Context(), wire.Internal, wire.BlobTail{BlobKey: serial, Data: make([]byte, wire.MaxBlob)}); code(err) != wire.CodeTooLarge || get(t, b, serial) != "abcdefg" {
		t.Errorf("too large: %v", err)
	}
	if whole, ok := b.Contiguous(serial); !ok || string(whole) != "abcdefg" {
		t.Errorf("contiguous: %q, %v", whole, ok)
	}
	if e, err := b.Empty(t.Context(), wire.Internal, serial); err != nil || e.Revision != 3 || get(t, b, serial) != "" {
		t.Errorf("empty: %+v, %v", e, err)
	}
	if m, err := b.Size(t.Context(), wire.Internal, serial); err != nil || m.Size != 0 || m.Revision != 3 {
		t.Errorf("size: %+v, %v", m, err)
	}
	if want := []string{"device-serial.0@1 3", "device-serial.0@2 7", "device-serial.0@3 0"}; !slices.Equal(events, want) {
		t.Errorf("events %v", events)
	}
	for k, want := range map[wire.BlobKey]string{
		{Name: "nonsense"}: "there are auth, client-cert-der", {Name: "auth", Index: 2}: "0 to 1 would be right",
		{Name: "user-"}: "there is no blob user-", {Name: "user-x", Index: 1}: "has no index 1",
	} {
		_, err := b.Size(t.Context(), wire.Internal, k)
		_, writeErr := b.Empty(t.Context(), wire.Internal, k)
		if code(err) != wire.CodeNotFound || code(writeErr) != wire.CodeNotFound || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, %v", k, err, writeErr)
		}
	}
}

func TestDirect(t *testing.T) {
	b, _ := open(t, newShelf())
	memory := []byte("lent")
	if err := b.SetDirect(serial, memory); err != nil {
		t.Fatal(err)
	}
	if whole, ok := b.Contiguous(serial); !ok || &whole[0] != &memory[0] {
		t.Error("a direct blob was copied")
	}
	if _, err := b.Empty(t.Context(), wire.Internal, serial); code(err) != wire.CodeConflict {
		t.Errorf("a direct blob was emptied: %v", err)
	}
	if b.SetDirect(wire.BlobKey{Name: "x"}, nil) == nil {
		t.Error("an unknown name")
	}
	list, err := b.List(t.Context(), wire.Internal, wire.Empty{})
	if err != nil || len(list.Blobs) != 2 || list.Blobs[0].Source != wire.SourceDirect || list.Blobs[1].Source != wire.SourceDefault {
		t.Errorf("list: %+v, %v", list, err)
	}
}

// TestTable plays every row of the package comment's table.
func TestTable(t *testing.T) {
	good := Record{Value: []byte("store"), Digest: digestOf([]byte("store")), Revision: 5}
	bad := Record{Value: []byte("stork"), Digest: good.Digest, Revision: 5}
	foreign := Record{Value: []byte("store"), Revision: 5}
	snap := func(revision uint64) []byte {
		data, err := snapshot{Value: []byte("snap"), Revision: revision}.encode()
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	none := []byte("-")
	for name, tt := range map[string]struct {
		record  *Record
		snap    []byte
		want    string
		repairs int
	}{
		"as it was":            {&good, snap(5), "store", 0},
		"no snapshot":          {&good, none, "store", 0},
		"older snapshot":       {&good, snap(4), "store", 0},
		"snapshot beyond":      {&good, snap(9), "snap", 1},
		"wrong digest":         {&bad, snap(5), "snap", 1},
		"foreign":              {&foreign, snap(4), "store", 0},
		"deleted":              {&Record{Deleted: true, Revision: 5}, snap(4), "", 0},
		"vanished":             {nil, snap(4), "snap", 1},
		"damaged snapshot":     {&good, nil, "store", 1},
		"both gone":            {nil, nil, "!", 1},
		"wrong, none to mend":  {&bad, none, "!", 1},
		"wrong, damaged snap":  {&bad, nil, "!", 1},
		"vanished, beyond end": {nil, snap(9), "snap", 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShelf()
			s.last = 5
			if tt.record != nil {
				s.records["device-serial.0"] = *tt.record
			}
			if !bytes.Equal(tt.snap, none) {
				s.files["device-serial.0"] = tt.snap
			}
			b, repairs := open(t, s)
			if len(repairs) != tt.repairs {
				t.Errorf("repairs %+v, want %d", repairs, tt.repairs)
			}
			if tt.want == "!" {
				if _, err := b.Get(t.Context(), wire.Internal, wire.BlobRange{BlobKey: serial}); code(err) != wire.CodeInternal {
					t.Errorf("a damaged blob was read: %v", err)
				}
				if _, err := b.Append(t.Context(), wire.Internal, wire.BlobTail{BlobKey: serial, Data: []byte("x")}); code(err) != wire.CodeInternal {
					t.Errorf("something was added to a damaged blob: %v", err)
				}
				set(t, b, serial, "new")
				tt.want = "new"
			}
			if got := get(t, b, serial); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			again, repairs := open(t, s)
			if get(t, again, serial) != tt.want || len(repairs) != 0 {
				t.Errorf("opened again: %q, %+v", get(t, again, serial), repairs)
			}
		})
	}
}

// TestOthers lets another client of the bucket write at the worst moment, and then see its write taken.
func TestOthers(t *testing.T) {
	s := newShelf()
	b, _ := open(t, s)
	set(t, b, serial, "a")
	s.cross = func() {
		s.last++
		s.records["device-serial.0"] = Record{Value: []byte("x"), Revision: s.last}
	}
	if w, err := b.Append(t.Context(), wire.Internal, wire.BlobTail{BlobKey: serial, Data: []byte("b")}); err != nil || w.Size != 2 || get(t, b, serial) != "xb" {
		t.Errorf("append: %+v, %v, %q", w, err, get(t, b, serial))
	}
	other := wire.BlobKey{Name: "user-other"}
	s.last++
	s.records["user-other.0"] = Record{Value: []byte("theirs"), Revision: s.last}
	if err := b.Changed(t.Context(), "user-other.0", s.last); err != nil || get(t, b, other) != "theirs" || s.records["user-other.0"].Digest == "" {
		t.Errorf("adopted: %v, %+v", err, s.records["user-other.0"])
	}
	s.last++
	s.records["user-other.0"] = Record{Deleted: true, Revision: s.last}
	if err := b.Changed(t.Context(), "user-other.0", s.last); err != nil || get(t, b, other) != "" || len(s.files) != 1 {
		t.Errorf("deleted: %v, %q, %v", err, get(t, b, other), s.files)
	}
	s.last++
	s.records["user-other.0"] = Record{Value: make([]byte, wire.MaxBlob+1), Revision: s.last}
	if err := b.Changed(t.Context(), "user-other.0", s.last); err != nil || get(t, b, other) != "" {
		t.Errorf("too large: %v", err)
	}
	if err := b.Changed(t.Context(), "no.blob.at.all", 99); err != nil {
		t.Error(err)
	}
	if err := b.Changed(t.Context(), "device-serial.0", s.records["device-serial.0"].Revision); err != nil || get(t, b, serial) != "xb" {
		t.Errorf("one's own write: %v", err)
	}
	told := 0
	b.opts.Changed = func(wire.BlobKey, uint64, int64) { told++ }
	s.fail = errors.New("disk full")
	if _, err := b.Set(t.Context(), wire.Internal, wire.BlobWrite{BlobKey: serial, Data: []byte("c")}); code(err) != wire.CodeStoreFull || told != 1 {
		t.Errorf("no snapshot: %v, told %d times; the bucket has it, so once would be right", err, told)
	}
}

// TestFullDisk finds that the old value stands in both copies, and that nothing is left of the attempt.
func TestFullDisk(t *testing.T) {
	s := newShelf()
	b, _ := open(t, s)
	set(t, b, serial, "old")
	record, file := s.records["device-serial.0"], s.files["device-serial.0"]
	s.full = errors.New("no space left on device")
	for _, k := range []wire.BlobKey{serial, {Name: "user-new"}, {Name: "ntp-server"}} {
		if _, err := b.Set(t.Context(), wire.Internal, wire.BlobWrite{BlobKey: k, Data: []byte("new")}); code(err) != wire.CodeStoreFull {
			t.Errorf("%s: %v", k.Name, err)
		}
	}
	if now := s.records["device-serial.0"]; get(t, b, serial) != "old" || now.Revision != record.Revision || !bytes.Equal(s.files["device-serial.0"], file) {
		t.Errorf("the old value does not stand: %q, %+v", get(t, b, serial), now)
	}
	if got := get(t, b, wire.BlobKey{Name: "ntp-server"}); got != "pool.ntp.org" {
		t.Errorf("a write that failed hides the default: %q", got)
	}
	if list, err := b.List(t.Context(), wire.Internal, wire.Empty{}); err != nil || len(list.Blobs) != 2 || len(b.held) != 1 {
		t.Errorf("a write that failed is listed: %+v, %v, %d held", list, err, len(b.held))
	}
	// Another client's write is in the bucket whether there is room for its snapshot or not.
	s.last++
	s.records["device-serial.0"] = Record{Value: []byte("theirs"), Revision: s.last}
	if err := b.Changed(t.Context(), "device-serial.0", s.last); code(err) != wire.CodeStoreFull || get(t, b, serial) != "theirs" {
		t.Errorf("adopted: %v, %q", err, get(t, b, serial))
	}
	// So it is at a start, which is none the less one.
	if b, _ = open(t, s); get(t, b, serial) != "theirs" {
		t.Errorf("loaded %q", get(t, b, serial))
	}
	s.full = nil
	if b, _ = open(t, s); get(t, b, serial) != "theirs" || s.records["device-serial.0"].Digest == "" || s.drafts != 0 {
		t.Errorf("room again: %q, %+v, %d drafts left", get(t, b, serial), s.records["device-serial.0"], s.drafts)
	}
}

// TestRevisions has 0 mean that there is nothing, also where something was, and never anything else.
func TestRevisions(t *testing.T) {
	s := newShelf()
	b, _ := open(t, s)
	write := func(revision uint64, text string) (wire.BlobWritten, error) {
		return b.Set(t.Context(), wire.Internal, wire.BlobWrite{BlobKey: serial, Data: []byte(text), Revision: &revision})
	}
	if _, err := write(7, "x"); code(err) != wire.CodeConflict || wire.AsError(err).Detail["revision"] != uint64(0) {
		t.Errorf("a revision of nothing: %v", err)
	}
	first, err := write(0, "one")
	if err != nil || first.Revision != 1 {
		t.Fatalf("the first: %+v, %v", first, err)
	}
	if _, err := write(0, "again"); code(err) != wire.CodeConflict {
		t.Errorf("0 over something: %v", err)
	}
	remove := func() {
		s.last++
		s.records["device-serial.0"] = Record{Deleted: true, Revision: s.last}
	}
	remove()
	if err := b.Changed(t.Context(), "device-serial.0", s.last); err != nil {
		t.Fatal(err)
	}
	if m, err := b.Size(t.Context(), wire.Internal, serial); err != nil || m.Revision != 0 || m.Size != 0 {
		t.Errorf("deleted: %+v, %v", m, err)
	}
	if w, err := write(0, "two"); err != nil || w.Revision != 3 {
		t.Errorf("0 after a deletion: %+v, %v", w, err)
	}
	s.cross = remove // and in the middle of a write
	if _, err := write(3, "three"); code(err) != wire.CodeConflict || get(t, b, serial) != "" {
		t.Errorf("deleted meanwhile: %v", err)
	}
	s.cross = remove
	if w, err := write(0, "four"); err != nil || w.Revision != 6 || get(t, b, serial) != "four" {
		t.Errorf("0 while it is deleted: %+v, %v", w, err)
	}
	// A bucket that was emptied behind our back has not taken what was there.
	clear(s.records)
	if w, err := b.Append(t.Context(), wire.Internal, wire.BlobTail{BlobKey: serial, Data: []byte("teen")}); err != nil || get(t, b, serial) != "fourteen" {
		t.Errorf("append to what the bucket lost: %+v, %v, %q", w, err, get(t, b, serial))
	}
}

func TestUserBlobs(t *testing.T) {
	b, _ := open(t, newShelf())
	for i := range maxUserBlobs {
		set(t, b, wire.BlobKey{Name: fmt.Sprintf("user-%d", i)}, "x")
	}
	if _, err := b.Empty(t.Context(), wire.Internal, wire.BlobKey{Name: "user-more"}); code(err) != wire.CodeTooMany {
		t.Errorf("one more: %v", err)
	}
}

// TestModel writes at random, crashes between store and snapshot, starts again, and finds every answered write.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := newShelf()
		b, _ := open(t, s)
		model := ""
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			data := []byte(rapid.StringMatching(`[a-z]{0,5}`).Draw(rt, "data"))
			before := model
			var err error
			if rapid.IntRange(0, 3).Draw(rt, "fail") == 0 {
				s.fail = errors.New("power cut")
			}
			switch rapid.SampledFrom([]string{"set", "append", "empty", "restart"}).Draw(rt, "do") {
			case "set":
				model = string(data)
				_, err = b.Set(t.Context(), wire.Internal, wire.BlobWrite{BlobKey: serial, Data: data})
			case "append":
				model += string(data)
				_, err = b.Append(t.Context(), wire.Internal, wire.BlobTail{BlobKey: serial, Data: data})
			case "empty":
				model = ""
				_, err = b.Empty(t.Context(), wire.Internal, serial)
			default:
				s.fail = nil
				b, _ = open(t, s)
			}
			s.fail = nil
			if err != nil { // not answered as written: either is right, but one of them
				b, _ = open(t, s)
				if got := get(t, b, serial); got != model && got != before {
					rt.Fatalf("got %q, want %q or %q", got, model, before)
				}
				model = get(t, b, serial)
			}
			if got := get(t, b, serial); got != model {
				rt.Fatalf("got %q, want %q", got, model)
			}
		}
	})
}

func FuzzSnapshot(f *testing.F) {
	f.Add([]byte{0x80})
	f.Fuzz(func(_ *testing.T, data []byte) { _, _ = decodeSnapshot(data) })
}
