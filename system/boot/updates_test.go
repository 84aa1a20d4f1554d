package boot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"muster/wire"
)

// shelf keeps records in memory. full makes every save fail.
type shelf struct {
	mu    sync.Mutex
	kept  map[string]string
	saves []string
	full  error
	saved func() // after each save; may be nil
}

// Save implements Records.
func (s *shelf) Save(name string, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full != nil {
		return s.full
	}
	if s.kept == nil {
		s.kept = map[string]string{}
	}
	s.kept[name] = string(data)
	s.saves = append(s.saves, string(data))
	if s.saved != nil {
		s.saved()
	}
	return nil
}

// Load implements Records.
func (s *shelf) Load(name string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if text, ok := s.kept[name]; ok {
		return []byte(text), nil
	}
	return nil, fs.ErrNotExist
}

func (s *shelf) fill(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full = err
}

// updating boots a machine with the one-time updates of a folder.
func updating(t *testing.T, dir string, opts UpdateOptions) *rig {
	t.Helper()
	r := newRig(t)
	opts.Gate = r
	u, err := OpenUpdates(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	r.boot(u)
	return r
}

func TestUpdatesRunOnce(t *testing.T) {
	dir := folder(t, map[string]string{"20-b": "", "10-a": "", "README": ""})
	records := &shelf{}
	for _, step := range []struct {
		version string
		want    []string
	}{
		{"1.0", []string{"10-a", "20-b"}},
		{"1.0", nil},
		{"1.1", []string{"10-a", "20-b"}},
		{"1.0", nil}, // gone back to
	} {
		synctest.Test(t, func(t *testing.T) {
			programs := &played{runs: map[string]run{"10-a": exits(0, ""), "20-b": exits(0, "")}}
			r := updating(t, dir, UpdateOptions{Version: step.version, Records: records, Runner: programs})
			r.wantStands("OPERATIONAL")
			if !slices.Equal(programs.ran, step.want) {
				t.Errorf("for version %s ran %q, want %q", step.version, programs.ran, step.want)
			}
		})
	}
	want := []string{
		`{"versions":[{"version":"1.0","done":null,"begun":"10-a","attempts":1}]}`,
		`{"versions":[{"version":"1.0","done":["10-a"]}]}`,
		`{"versions":[{"version":"1.0","done":["10-a"],"begun":"20-b","attempts":1}]}`,
		`{"versions":[{"version":"1.0","done":["10-a","20-b"]}]}`,
	}
	if diff := cmp.Diff(want, records.saves[:4]); diff != "" {
		t.Errorf("what was written (-want +got):\n%s", diff)
	}
}

// TestUpdatesFaults plays every way in which an update can fail: it holds, says why, is tried again, and the next waits for it.
func TestUpdatesFaults(t *testing.T) {
	dir := folder(t, map[string]string{"10-a": "", "20-b": ""})
	for name, c := range map[string]struct {
		do    run
		after time.Duration
		want  string
	}{
		"failing": {exits(3, "migrating\nno table users\n"), 0, "update 10-a failed, exit status 3: migrating / no table users"},
		"later":   {exits(21, "the database is locked"), 0, "update 10-a wants to run later: the database is locked"},
		"hanging": {hangs("row 17"), 10 * time.Minute, "update 10-a did not end within 10m0s: row 17"},
		"refused": {
			func(context.Context, Program) (Exit, error) { return Exit{}, errors.New("fork: out of memory") },
			0, "update 10-a was not run: fork: out of memory",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				programs := &played{runs: map[string]run{"10-a": c.do, "20-b": exits(0, "")}}
				r := updating(t, dir, UpdateOptions{Version: "1", Records: &shelf{}, Runner: programs})
				r.after(c.after)
				r.soon()
				r.wantStands("AUTH2; one-time-updates: " + c.want)
				programs.play("10-a", exits(0, ""))
				r.after(time.Minute)
				r.soon()
				r.wantStands("OPERATIONAL")
				if want := []string{"10-a", "10-a", "20-b"}; !slices.Equal(programs.ran, want) {
					t.Errorf("ran %q, want %q", programs.ran, want)
				}
				if !slices.Contains(programs.env[1], "MUSTER_ATTEMPT=2") || slices.Contains(programs.env[1], "MUSTER_INTERRUPTED=1") {
					t.Errorf("the second attempt was told %q", programs.env[1])
				}
			})
		})
	}
}

// TestUpdatesSlow shows what is said of one that runs, in which nothing ends the system before it has.
func TestUpdatesSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done := make(chan struct{})
		programs := &played{runs: map[string]run{"10-a": func(context.Context, Program) (Exit, error) {
			<-done
			return Exit{}, nil
		}}}
		r := updating(t, folder(t, map[string]string{"10-a": ""}), UpdateOptions{Records: &shelf{}, Runner: programs})
		r.wantStands("AUTH2; one-time-updates: updates are about to run, the first is 10-a")
		r.after(time.Minute)
		r.wantStands("AUTH2; one-time-updates: update 10-a runs since 1m0s, 1 to go")
		go func() {
			_, _ = r.Request(t.Context(), wire.Internal, wire.StateWish{Target: wire.ContextDestroying, Reason: "power", Wait: wire.InMicros(time.Minute)})
		}()
		r.wantStands("AUTH2; one-time-updates: update 10-a runs since 1m0s, 1 to go")
		close(done)
		r.wantStands("CONTEXT_DESTROYING")
	})
}

// TestUpdatesEnd wishes for the end while the first of several runs: it waits for that one, and no other is begun.
func TestUpdatesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := func(context.Context, Program) (Exit, error) {
			<-time.After(20 * time.Second)
			return Exit{}, nil
		}
		programs := &played{runs: map[string]run{"10-a": slow, "20-b": slow}}
		r := updating(t, folder(t, map[string]string{"10-a": "", "20-b": ""}), UpdateOptions{Records: &shelf{}, Runner: programs})
		end := func() {
			_, _ = r.Request(t.Context(), wire.Internal, wire.StateWish{Target: wire.ContextDestroying, Reason: "power", Wait: wire.InMicros(time.Minute)})
		}
		go end()
		r.after(10 * time.Second)
		if _, err := r.Abort(t.Context(), wire.Internal, wire.Abort{Reason: "not after all"}); err != nil {
			t.Fatal(err)
		}
		r.after(2 * time.Minute)
		r.wantStands("OPERATIONAL")
		if want := []string{"10-a", "20-b"}; !slices.Equal(programs.ran, want) {
			t.Errorf("ran %q after an end that did not come, want %q", programs.ran, want)
		}

		programs = &played{runs: map[string]run{"10-a": slow, "20-b": slow}}
		r = updating(t, folder(t, map[string]string{"10-a": "", "20-b": ""}), UpdateOptions{Records: &shelf{}, Runner: programs})
		go end()
		r.after(20 * time.Second)
		r.soon()
		r.wantStands("CONTEXT_DESTROYING")
		if want := []string{"10-a"}; !slices.Equal(programs.ran, want) {
			t.Errorf("ran %q before the end, want %q", programs.ran, want)
		}
	})
}

// TestUpdatesPatience goes on without an update that never succeeds, when it is told to.
func TestUpdatesPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		programs := &played{runs: map[string]run{"10-a": exits(1, "")}}
		r := updating(t, folder(t, map[string]string{"10-a": ""}),
			UpdateOptions{Records: &shelf{}, Runner: programs, Patience: 5 * time.Minute})
		r.after(5*time.Minute - time.Second)
		r.wantStands("AUTH2; one-time-updates: update 10-a failed, exit status 1")
		r.after(time.Second)
		r.wantStands("OPERATIONAL")
	})
}

// TestUpdatesFullDisk has no room for the ledger: an update is not begun unless that is written down, and one that has run is
// not run again because that could not be.
func TestUpdatesFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		records := &shelf{full: errors.New("no space left on device")}
		programs := &played{runs: map[string]run{"10-a": func(context.Context, Program) (Exit, error) {
			records.fill(errors.New("no space left on device"))
			return Exit{}, nil
		}}}
		r := updating(t, folder(t, map[string]string{"10-a": ""}), UpdateOptions{Records: records, Runner: programs})
		r.wantStands("AUTH2; one-time-updates: update 10-a is not begun, for that cannot be written down: no space left on device")
		records.fill(nil)
		r.after(time.Minute)
		r.wantStands("AUTH2; one-time-updates: update 10-a has run, which cannot be written down: no space left on device")
		r.after(time.Hour)
		records.fill(nil)
		r.after(time.Minute)
		r.soon()
		r.wantStands("OPERATIONAL")
		if len(programs.ran) != 1 {
			t.Errorf("ran %q, want one run", programs.ran)
		}
	})
}

// TestUpdatesDamagedLedger runs nothing when it cannot be known what has run.
func TestUpdatesDamagedLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		programs := &played{}
		records := &shelf{kept: map[string]string{"updates": "{"}}
		r := updating(t, folder(t, map[string]string{"10-a": ""}), UpdateOptions{Records: records, Runner: programs, Patience: time.Hour})
		r.after(time.Hour - time.Second)
		r.wantStands("AUTH2; one-time-updates: it is not known which updates have run, so none does: " +
			"read which have run: unexpected end of JSON input")
		r.after(time.Second)
		r.wantStands("OPERATIONAL")
		if len(programs.ran) > 0 {
			t.Errorf("ran %q", programs.ran)
		}
	})
}

// TestUpdatesPowerCut cuts the power after each save and in the midst of each update, and starts again with what was on disk by then.
// Every update has then run to its end; one runs a second time only if the cut came between its begin and the
// note of its end, and is told so.
func TestUpdatesPowerCut(t *testing.T) {
	dir := folder(t, map[string]string{"10-a": "", "20-b": "", "30-c": ""})
	const points = 9 // begin, run, end of each
	for cut := 1; cut <= points; cut++ {
		t.Run(fmt.Sprint(cut), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, power := context.WithCancel(t.Context())
				point := 0
				tick := func() { // from Run's goroutine alone
					if point++; point == cut {
						power()
					}
				}
				records := &shelf{saved: tick}
				var story []string
				step := func(ctx context.Context, p Program) (Exit, error) {
					name := p.Path[len(p.Path)-1:]
					if slices.Contains(p.Env, "MUSTER_INTERRUPTED=1") {
						name += "?"
					}
					if ctx.Err() == nil {
						tick()
					}
					if ctx.Err() != nil {
						story = append(story, name+"!")
						return Exit{}, ctx.Err()
					}
					story = append(story, name)
					return Exit{}, nil
				}
				programs := &played{runs: map[string]run{"10-a": step, "20-b": step, "30-c": step}}
				boot := func(ctx context.Context) {
					u, err := OpenUpdates(dir, UpdateOptions{Version: "1", Records: records, Runner: programs, Gate: deafGate{}})
					if err != nil {
						t.Fatal(err)
					}
					u.Notifier().Ask(ctx, wire.Question{To: wire.OneTimeUpdates})
					if err := u.Run(ctx); err != nil {
						t.Errorf("Run: %v", err)
					}
				}
				boot(ctx)
				again, stop := context.WithTimeout(t.Context(), time.Hour)
				defer stop()
				boot(again)
				want := []string{
					"a! a? b c", "a! a? b c", "a b c", "a b! b? c", "a b! b? c", "a b c", "a b c! c?", "a b c! c?", "a b c",
				}[cut-1]
				if got := strings.Join(story, " "); got != want {
					t.Errorf("cut at point %d: %s, want %s", cut, got, want)
				}
			})
		})
	}
}

// deafGate takes every word, and nothing comes of it.
type deafGate struct{}

// Resume implements Gate.
func (deafGate) Resume(context.Context, wire.Caller, wire.Resume) (wire.Resumed, error) {
	return wire.Resumed{}, nil
}

func TestLedgerForgets(t *testing.T) {
	var l ledger
	for i := range 2 * maxVersions {
		l.of(fmt.Sprint(i)).finish("10-a")
	}
	if len(l.Versions) != maxVersions {
		t.Errorf("%d versions are kept, want %d", len(l.Versions), maxVersions)
	}
	if last := l.of(fmt.Sprint(2*maxVersions - 2)); len(last.Done) != 1 || l.Versions[maxVersions-1] != last {
		t.Errorf("the version in use is %+v, want the one kept, as the last", last)
	}
}
