package boot

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"muster/system"
	"muster/wire"
)

// Updates runs the one-time updates of a version of the firmware: the programs of a folder, one after the other, before
// ONE_TIME_UPDATES is entered. Each runs once for each version. That it begins is on disk before it does, and that
// it has run is before the next; only if the power goes in between, it runs again, and is told so by MUSTER_INTERRUPTED. One that
// fails holds the device with its last words as the reason, and is tried again.
//
// While one runs, Updates holds CONTEXT_DESTROYING too.
type Updates struct {
	opts   UpdateOptions
	dir    string
	wanted chan struct{} // closed when they are to run

	// These are Run's alone.
	ledger  ledger
	version *versionLedger // within ledger; nil if that could not be read
	ran     string         // has run, and that is not on disk yet

	mu       sync.Mutex
	asked    bool      // wanted is closed
	left     []string  // the files that have not run, or of which that is not on disk yet
	current  string    // the one that runs
	since    time.Time // when it began
	fault    string    // why they do not go on
	ending   bool      // the system is to end, so that no other is begun for now
	patience patience
	gaveUp   bool
}

// UpdateOptions are the surroundings of one-time updates. Records and Gate are required; other zero values work.
type UpdateOptions struct {
	Version  string        // of the firmware
	Records  Records       //
	Gate     Gate          //
	Runner   Runner        // nil: [Processes]
	Timeout  time.Duration // for one update, after which it is killed and has failed; 0: 10 min
	Retry    time.Duration // after which one that failed is tried again; 0: 1 min
	Patience time.Duration // after which the device goes on without them; 0: never
	Env      []string      // what they are given besides: NAME=value
	Log      *slog.Logger
}

const updatesName = "one-time-updates"

// OpenUpdates reads the folder, in which only root and the daemon's own user may write, and which updates have run. If
// that cannot be read, none runs, and the device is held.
func OpenUpdates(dir string, opts UpdateOptions) (*Updates, error) {
	if opts.Runner == nil {
		opts.Runner = Processes{}
	}
	if opts.Timeout == 0 {
		opts.Timeout = 10 * time.Minute
	}
	if opts.Retry == 0 {
		opts.Retry = time.Minute
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	names, ignored, err := readFolder(dir)
	if err != nil {
		return nil, err
	}
	if len(ignored) > 0 {
		opts.Log.Warn("files ignored whose names do not begin with two digits and a dash", "dir", dir, "files", ignored)
	}
	u := &Updates{opts: opts, dir: dir, left: names, wanted: make(chan struct{}), patience: patience{limit: opts.Patience}}
	if u.ledger, err = loadLedger(opts.Records); err != nil {
		u.fault = withWords("it is not known which updates have run, so none does", err.Error())
		return u, nil
	}
	u.version = u.ledger.of(opts.Version)
	u.left = slices.DeleteFunc(u.left, func(name string) bool { return slices.Contains(u.version.Done, name) })
	return u, nil
}

// Notifier implements [Part].
func (u *Updates) Notifier() system.Notifier {
	return system.Notifier{
		Name: updatesName, States: []wire.State{wire.OneTimeUpdates, wire.ContextDestroying}, Ask: u.ask,
		About: "runs what a new version of the firmware needs once",
	}
}

// ask sees to it that the updates run, and holds until they have.
func (u *Updates) ask(_ context.Context, q wire.Question) wire.Answer {
	u.mu.Lock()
	defer u.mu.Unlock()
	if q.To == wire.ContextDestroying {
		u.ending = u.ending || !q.DryRun
		if u.current != "" {
			return deferred(u.reason())
		}
		return accepted
	}
	if len(u.left) == 0 || u.gaveUp {
		return accepted
	}
	if q.DryRun {
		return deferred(u.reason())
	}
	if !u.asked {
		u.asked = true
		close(u.wanted)
	}
	left, over := u.patience.wait()
	switch {
	case over:
		u.gaveUp = true
		u.opts.Log.Error("one-time updates not waited for any longer", "patience", u.opts.Patience, "reason", u.reason())
		return accepted
	case left > 0:
		return deferredFor(u.reason(), left)
	}
	return deferred(u.reason())
}

// reason says why the device is held.
func (u *Updates) reason() string {
	switch {
	case u.current != "":
		return fmt.Sprintf("update %s runs since %v, %d to go", u.current, time.Since(u.since).Round(time.Second), len(u.left))
	case u.fault != "":
		return u.fault
	}
	return "updates are about to run, the first is " + u.left[0]
}

// Run implements [Part].
func (u *Updates) Run(ctx context.Context) error {
	select {
	case <-u.wanted:
	case <-ctx.Done():
		return nil
	}
	if u.version == nil {
		return nil
	}
	for name := u.next(); name != "" && ctx.Err() == nil; name = u.next() {
		done := u.update(ctx, name)
		resume(ctx, u.opts.Gate, updatesName, u.opts.Log)
		if (u.takeEnding() || !done) && !pause(ctx, u.opts.Retry) {
			return nil
		}
	}
	return nil
}

// takeEnding reports whether the system was to end meanwhile. If it has not after a pause, the updates go on.
func (u *Updates) takeEnding() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	ending := u.ending
	u.ending = false
	return ending
}

// next is the update that is to run next, "" when all have.
func (u *Updates) next() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.left) == 0 {
		return ""
	}
	return u.left[0]
}

// update has one update run, and reports whether it has and that is known for good.
func (u *Updates) update(ctx context.Context, name string) bool {
	if u.ran != name && !u.run(ctx, name) {
		return false
	}
	u.ran = name
	if err := u.note(name, (*versionLedger).finish); err != nil {
		u.stop(withWords("update "+name+" has run, which cannot be written down", err.Error()))
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.left, u.current, u.fault = u.left[1:], "", ""
	u.opts.Log.Info("update has run", "update", name, "version", u.opts.Version)
	return true
}

// run runs one update and reports whether it succeeded.
func (u *Updates) run(ctx context.Context, name string) bool {
	interrupted := u.version.Begun == name
	if err := u.note(name, (*versionLedger).begin); err != nil {
		u.stop(withWords("update "+name+" is not begun, for that cannot be written down", err.Error()))
		return false
	}
	u.begin(name)
	env := []string{"MUSTER_VERSION=" + u.opts.Version, "MUSTER_ATTEMPT=" + strconv.Itoa(u.version.Attempts)}
	if interrupted {
		env = append(env, "MUSTER_INTERRUPTED=1")
	}
	limit, cancel := context.WithTimeout(ctx, u.opts.Timeout)
	defer cancel()
	exit, err := u.opts.Runner.Run(limit, Program{Path: u.dir + "/" + name, Env: environment(append(env, u.opts.Env...)...)})
	switch {
	case err == nil && exit.Code == exitAccept:
		return true
	case ctx.Err() != nil: // it was interrupted, and stays begun
		u.stop("the daemon stops")
		return false
	case limit.Err() != nil:
		u.stop(withWords(fmt.Sprintf("update %s did not end within %v", name, u.opts.Timeout), exit.Output))
	case err != nil:
		u.stop(withWords("update "+name+" was not run", err.Error()))
	case exit.Code == exitDefer:
		u.stop(withWords("update "+name+" wants to run later", exit.Output))
	default:
		u.stop(withWords("update "+name+" failed, "+exit.How, exit.Output))
	}
	u.opts.Log.Error("update failed", "update", name, "reason", u.fault, "again", u.opts.Retry)
	if err := u.note(name, (*versionLedger).fail); err != nil {
		u.opts.Log.Warn("failure of an update not noted; it will count as interrupted", "update", name, "error", err)
	}
	return false
}

// begin notes that an update runs.
func (u *Updates) begin(name string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.current, u.since = name, time.Now()
}

// stop notes that none does, and why not.
func (u *Updates) stop(fault string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.current, u.fault = "", fault
}

// note writes into the ledger what becomes of an update. When that fails, nothing has been written.
func (u *Updates) note(name string, what func(*versionLedger, string)) error {
	before := *u.version
	what(u.version, name)
	if err := u.ledger.save(u.opts.Records); err != nil {
		*u.version = before
		return err
	}
	return nil
}
