package boot

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"muster/wire"
)

// safe keeps blobs in memory, as long as there is no fault.
type safe struct {
	mu        sync.Mutex
	blobs     map[wire.BlobKey]string
	revisions map[wire.BlobKey]uint64
	writes    []string // the names, in their order
	fault     error    // of writing
	deaf      error    // of reading
}

// Set implements Store.
func (s *safe) Set(_ context.Context, _ wire.Caller, w wire.BlobWrite) (wire.BlobWritten, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault != nil {
		return wire.BlobWritten{}, s.fault
	}
	if s.blobs == nil {
		s.blobs, s.revisions = map[wire.BlobKey]string{}, map[wire.BlobKey]uint64{}
	}
	if w.Revision != nil && *w.Revision != s.revisions[w.BlobKey] {
		return wire.BlobWritten{}, wire.Conflict("revision is %d", *w.Revision)
	}
	s.blobs[w.BlobKey] = string(w.Data)
	s.revisions[w.BlobKey]++
	s.writes = append(s.writes, w.Name)
	return wire.BlobWritten{}, nil
}

// Get implements Blobs.
func (s *safe) Get(_ context.Context, _ wire.Caller, r wire.BlobRange) (wire.BlobPart, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return wire.BlobPart{Data: []byte(s.blobs[r.BlobKey]), Source: wire.SourceKV, Revision: s.revisions[r.BlobKey]}, s.deaf
}

// put writes a blob as somebody else does.
func (s *safe) put(t *testing.T, name, value string) {
	t.Helper()
	if _, err := s.Set(t.Context(), wire.Internal, wire.BlobWrite{BlobKey: wire.BlobKey{Name: name}, Data: []byte(value)}); err != nil {
		t.Fatal(err)
	}
}

// has gives what a blob has.
func (s *safe) has(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.blobs[wire.BlobKey{Name: name}]
}

func (s *safe) mend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = nil
}

func (s *safe) want(t *testing.T, want string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if got := s.blobs[pin]; got != want {
		t.Errorf("the blob has %.40q (%d bytes), want %.40q (%d bytes)", got, len(got), want, len(want))
	}
}

var pin = wire.BlobKey{Name: "user-pin"}

// collecting boots a machine that reads in, and waits at most five minutes for it.
func collecting(t *testing.T, in io.Reader, store *safe) *rig {
	t.Helper()
	r := newRig(t)
	r.boot(NewStdin(in, pin, StdinOptions{Store: store, Gate: r, Patience: 5 * time.Minute}))
	return r
}

func TestStdin(t *testing.T) {
	for name, secret := range map[string]string{"a line": "1234\n", "a byte": "\x00", "the most": strings.Repeat("x", wire.MaxBlob)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &safe{}
				r := collecting(t, strings.NewReader(secret), store)
				r.wantStands("OPERATIONAL")
				store.want(t, secret)
			})
		})
	}
}

// TestStdinSlow brings the secret in pieces, and shows how far it is.
func TestStdinSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, out := io.Pipe()
		store := &safe{}
		r := collecting(t, in, store)
		r.wantStands("INITIALIZED; stdin: nothing has come from standard input yet")
		if _, err := out.Write([]byte("12")); err != nil {
			t.Fatal(err)
		}
		r.after(refresh)
		r.wantStands("INITIALIZED; stdin: standard input has brought 2 bytes and is not at its end")
		if _, err := out.Write([]byte("34")); err != nil {
			t.Fatal(err)
		}
		store.want(t, "")
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
		r.wantStands("OPERATIONAL")
		store.want(t, "1234")
	})
}

// TestStdinFaults has every kind of standard input that brings nothing: it holds, says why, and the device goes on
// without when the patience is over.
func TestStdinFaults(t *testing.T) {
	for name, c := range map[string]struct {
		in   io.Reader
		want string
	}{
		"empty":  {strings.NewReader(""), "standard input ended without a byte"},
		"closed": {iotest.ErrReader(errors.New("read /dev/stdin: bad file descriptor")), "standard input cannot be read: read /dev/stdin: bad file descriptor"},
		"cut":    {io.MultiReader(strings.NewReader("12"), iotest.ErrReader(io.ErrUnexpectedEOF)), "standard input cannot be read: unexpected EOF"},
		"endless": {
			io.MultiReader(bytes.NewReader(make([]byte, 1<<20)), iotest.OneByteReader(bytes.NewReader(make([]byte, 9)))),
			"standard input has more than the 1048576 bytes that a blob can hold",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &safe{}
				r := collecting(t, c.in, store)
				r.wantStands("INITIALIZED; stdin: " + c.want)
				r.after(5*time.Minute - time.Second)
				r.wantStands("INITIALIZED; stdin: " + c.want)
				r.after(2 * time.Second)
				r.wantStands("OPERATIONAL")
				store.want(t, "")
			})
		})
	}
}

// TestStdinSilent goes on without what never comes, and takes it all the same when it does.
func TestStdinSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, out := io.Pipe()
		store := &safe{}
		r := collecting(t, in, store)
		r.after(5*time.Minute + time.Second)
		r.wantStands("OPERATIONAL")
		if _, err := out.Write([]byte("1234")); err != nil {
			t.Fatal(err)
		}
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		store.want(t, "1234")
	})
}

// TestStdinFullStore cannot keep the secret at first.
func TestStdinFullStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &safe{fault: wire.Errorf(wire.CodeStoreFull, "the store is full")}
		r := collecting(t, strings.NewReader("1234"), store)
		r.wantStands("INITIALIZED; stdin: standard input is read, and the blob user-pin.0 cannot be written: the store is full (507)")
		store.mend()
		r.after(time.Minute)
		r.soon()
		r.wantStands("OPERATIONAL")
		store.want(t, "1234")
	})
}

// TestStdinEnds stops while nothing comes.
func TestStdinEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, out := io.Pipe()
		r := collecting(t, in, &safe{})
		r.wantStands("INITIALIZED; stdin: nothing has come from standard input yet")
		t.Cleanup(func() {
			if err := out.Close(); err != nil {
				t.Error(err)
			}
		})
	})
}
