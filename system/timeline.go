package system

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"muster/wire"
)

// Files keeps small files whole over a power cut.
type Files interface {
	Save(name string, data []byte) error
	Load(name string) ([]byte, error)
	List() ([]string, error)
	Remove(name string) error
}

const (
	keptBoots    = 16                     // besides this one
	maxTimeline  = 1024                   // events of one boot: the first half, and the last ones
	writeDelay   = 200 * time.Millisecond // so that a boot is written once and not for each step
	maxHistory   = 256 << 10              // bytes of an answer, about
	bootFileMark = "boot-"
)

// Timeline remembers what happened in this boot and the last sixteen. Record never blocks; Run writes behind.
type Timeline struct {
	files Files
	clock Clock
	log   *slog.Logger
	ring  chan struct{}

	mu   sync.Mutex
	boot record
	past []record // newest first
}

// record is one boot's file.
type record struct {
	Summary wire.BootSummary  `json:"summary"`
	Events  []wire.Transition `json:"events"`
}

// OpenTimeline reads the last boots and names this one: a counter of the daemon's runs, higher than any before, and
// a random part. A file that cannot be read is reported and left out; so is a folder that cannot be written, but then
// the next run may count the same.
func OpenTimeline(files Files, clock Clock, deviceBoot string, log *slog.Logger) (*Timeline, error) {
	t := &Timeline{files: files, clock: clock, log: log, ring: make(chan struct{}, 1)}
	names, err := files.List()
	if err != nil {
		return nil, fmt.Errorf("list timelines: %w", err)
	}
	last := 0
	for _, name := range names {
		number, ok := bootNumber(name)
		if !ok {
			continue
		}
		last = max(last, number)
		if r, err := t.load(name); err != nil {
			log.Error("timeline unreadable", "file", name, "error", err)
		} else {
			t.past = append(t.past, r)
		}
	}
	slices.SortFunc(t.past, func(a, b record) int { return cmp.Compare(runOf(b.Summary.Boot), runOf(a.Summary.Boot)) })
	at, mono := clock.Now()
	random := make([]byte, 3)
	_, _ = rand.Read(random) // never fails
	t.boot.Summary = wire.BootSummary{
		Boot: fmt.Sprintf("%d-%s", last+1, hex.EncodeToString(random)), DeviceBoot: deviceBoot, Started: at, StartedMono: mono,
	}
	t.prune(names, last+1)
	t.write() // before anything is told under this number
	return t, nil
}

// prune removes the files of boots that are too old.
func (t *Timeline) prune(names []string, current int) {
	for _, name := range names {
		if number, ok := bootNumber(name); ok && number < current-keptBoots {
			if err := t.files.Remove(name); err != nil {
				t.log.Warn("old timeline not removed", "file", name, "error", err)
			}
		}
	}
	t.past = t.past[:min(len(t.past), keptBoots)]
}

func (t *Timeline) load(name string) (r record, err error) {
	data, err := t.files.Load(name)
	if err == nil {
		err = wire.Decode(data, &r)
	}
	return r, err
}

// bootNumber reads "boot-17".
func bootNumber(name string) (int, bool) {
	text, ok := strings.CutPrefix(name, bootFileMark)
	n, err := strconv.Atoi(text)
	return n, ok && err == nil
}

// runOf gives the counter in "17-9f3c2a".
func runOf(boot string) int {
	number, _, _ := strings.Cut(boot, "-")
	n, _ := strconv.Atoi(number) // 0 for what is no boot
	return n
}

// Boot names this run of the daemon.
func (t *Timeline) Boot() string { return t.boot.Summary.Boot }

// Record takes a transition event. It never blocks.
func (t *Timeline) Record(event wire.Transition) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.boot.Events) == maxTimeline {
		t.boot.Events = slices.Delete(t.boot.Events, maxTimeline/2, maxTimeline/2+1)
	}
	t.boot.Events = append(t.boot.Events, event)
	s := &t.boot.Summary
	if event.Kind == wire.KindCommitted {
		s.Last = event.To
		if event.To == wire.Operational && s.Operational == 0 {
			s.Operational = wire.Micros(event.Mono - s.StartedMono)
		}
		s.Clean = event.To == wire.ContextDestroying
	}
	select {
	case t.ring <- struct{}{}:
	default:
	}
}

// Run writes what was recorded, a moment after it happened, and once more at the end.
func (t *Timeline) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			t.write()
			return nil
		case <-t.ring:
		}
		delay := time.NewTimer(writeDelay)
		select {
		case <-ctx.Done():
		case <-delay.C:
		}
		delay.Stop()
		t.write()
	}
}

func (t *Timeline) write() {
	if err := t.save(); err != nil {
		t.log.Error("timeline not written", "boot", t.Boot(), "error", err)
	}
}

func (t *Timeline) save() error {
	t.mu.Lock()
	data, err := wire.Encode(t.boot)
	t.mu.Unlock()
	if err != nil {
		return err
	}
	return t.files.Save(bootFileMark+strconv.Itoa(runOf(t.boot.Summary.Boot)), data)
}

// History answers state.history.
func (t *Timeline) History(_ context.Context, _ wire.Caller, q wire.HistoryQuery) (wire.History, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := append([]record{t.boot}, t.past...)
	answer := wire.History{}
	for _, r := range all {
		answer.Boots = append(answer.Boots, r.Summary)
	}
	wanted := cmp.Or(q.Boot, t.boot.Summary.Boot)
	i := slices.IndexFunc(all, func(r record) bool { return r.Summary.Boot == wanted })
	if i < 0 {
		return wire.History{}, wire.NotFound("there is no boot %.64q; state.history without boot lists those that are known", wanted)
	}
	events := all[i].Events
	if q.Limit > 0 && len(events) > q.Limit {
		events = events[len(events)-q.Limit:]
	}
	fitting, err := newestFitting(events)
	answer.Events = fitting
	return answer, err
}

// newestFitting gives as many of the last events as an answer can carry.
func newestFitting(events []wire.Transition) ([]wire.Transition, error) {
	size := 0
	for i := len(events) - 1; i >= 0; i-- {
		data, err := wire.Encode(&events[i])
		if err != nil {
			return nil, err
		}
		if size += len(data); size > maxHistory {
			return slices.Clone(events[i+1:]), nil
		}
	}
	return slices.Clone(events), nil
}
