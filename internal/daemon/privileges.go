package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"muster/access"
	"muster/internal/demote"
	"muster/system"
	"muster/system/boot"
	"muster/system/linux"
	"muster/wire"
)

// checkPrivileges holds what is said of the user that the daemon becomes against what it may be.
func (c Config) checkPrivileges() error {
	for i, way := range c.RebootBy {
		if known := linux.WayNames(); !slices.Contains(known, way) {
			return fmt.Errorf("reboot_by[%d] is %q; %s would be right", i, way, strings.Join(known, ", "))
		}
		if slices.Contains(c.RebootBy[:i], way) {
			return fmt.Errorf("reboot_by[%d] is %q for the second time", i, way)
		}
	}
	if len(c.RebootBy) == 0 {
		return fmt.Errorf("reboot_by is empty; one of %s at least would be right", strings.Join(linux.WayNames(), ", "))
	}
	if c.User == "" {
		if c.Group != "" {
			return fmt.Errorf("group is %q, and user is not set; both, or neither, would be right", c.Group)
		}
		return nil
	}
	if _, err := demote.Find(c.User, c.Group); err != nil {
		return fmt.Errorf("user: %w", err)
	}
	return nil
}

// own gives the user that the daemon is, or will be.
func (c Config) own() int {
	if c.User != "" {
		if account, err := demote.Find(c.User, c.Group); err == nil {
			return account.UID
		}
	}
	return os.Geteuid()
}

// keeps gives the capabilities that what is configured needs.
func (c Config) keeps() (keep demote.Set) {
	if c.Platform != platformLinux {
		return 0
	}
	keep = demote.SysTime // for op.set-clock
	if slices.Contains(c.RebootBy, linux.BySystemCall) {
		keep |= demote.SysBoot
	}
	return keep
}

// demotion has the daemon give up what it has as root, before INITIALIZED. It is a notifier, so that who holds the
// device there, and why, is seen like any other; and it is the first to be asked, so that no program of the others is
// started as root any more.
type demotion struct {
	account demote.Account
	keep    demote.Set
	drop    func(demote.Account, demote.Set) (demote.Set, error)
	log     *slog.Logger
	passed  chan struct{} // told when INITIALIZED is entered
	done    chan struct{} // closed when it is done

	mu sync.Mutex
}

const (
	demotionName  = "privileges"
	demotionOrder = -1 // before any script
	demotionRetry = 10 * time.Second
)

// begin has a daemon that is to become another user make its files as that user from the start; nil for one that
// stays who it is.
func (c Config) begin(log *slog.Logger) (*demotion, error) {
	if c.User == "" {
		return nil, nil //nolint:nilnil // there is none
	}
	account, err := demote.Find(c.User, c.Group)
	if err != nil {
		return nil, fmt.Errorf("user: %w", err)
	}
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("user is %q, and the daemon is started as user %d, who cannot become another; "+
			"started as root, or without user in the configuration, would be right", c.User, os.Geteuid())
	}
	if err := c.handOver(account); err != nil {
		return nil, err
	}
	if err := demote.Begin(account); err != nil {
		return nil, err
	}
	if _, err := os.Stat(c.Dir); err != nil {
		return nil, fmt.Errorf("dir is %q, which the user %s cannot reach: %w; a folder that all may pass through on the way there would be right",
			c.Dir, c.User, err)
	}
	d := &demotion{
		account: account, keep: c.keeps(), drop: demote.Drop, log: log, passed: make(chan struct{}, 1), done: make(chan struct{}),
	}
	return d, nil
}

// handOver makes the folders of the daemon, and gives them to the account. The folder of the socket is given away only
// where it is this daemon's: made now, or the default one.
func (c Config) handOver(account demote.Account) error {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return fmt.Errorf("make the folder: %w", err)
	}
	if err := demote.Own(account, c.Dir); err != nil {
		return err
	}
	socket, _ := c.socket()
	if socket.Path == "" {
		return nil
	}
	folder := filepath.Dir(socket.Path)
	_, err := os.Lstat(folder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return fmt.Errorf("make the socket's folder: %w", err)
		}
	case err != nil:
		return err
	case socket.Path != c.defaultSocket():
		return nil
	}
	return demote.Own(account, folder)
}

// open opens a file of root's that the daemon reads at its start, such as the key of its store.
func (d *demotion) open(name string, flag int, mode fs.FileMode) (f *os.File, err error) {
	if d == nil {
		return os.OpenFile(name, flag, mode)
	}
	err = demote.AsRoot(func() error {
		f, err = os.OpenFile(name, flag, mode)
		return err
	})
	return f, err
}

// serial has the serial of the device read as long as the daemon is root, for the files of DMI root alone may read. What
// cannot be told by then is looked for when it is needed.
func (d *demotion) serial(source boot.SerialSource) boot.SerialSource {
	if d == nil {
		return source
	}
	var early boot.Serial
	err := demote.AsRoot(func() (err error) {
		early, err = source.Serial()
		return err
	})
	if err != nil {
		return source
	}
	return readEarly(early)
}

// readEarly is a serial that is known already.
type readEarly boot.Serial

// Serial implements [boot.SerialSource].
func (s readEarly) Serial() (boot.Serial, error) { return boot.Serial(s), nil }

// Notifier implements [boot.Part].
func (d *demotion) Notifier() system.Notifier {
	return system.Notifier{
		Name: demotionName, States: []wire.State{wire.Initialized}, Order: demotionOrder, Ask: d.ask,
		About: fmt.Sprintf("makes the daemon the user %s, with the capabilities that it needs: %s", d.account.Name, d.keep),
	}
}

// ask drops the privileges, and does not let the device go on when they are still there.
func (d *demotion) ask(_ context.Context, q wire.Question) wire.Answer {
	d.mu.Lock()
	defer d.mu.Unlock()
	if q.DryRun || d.finished() {
		return wire.Answer{Answer: wire.Accept}
	}
	kept, err := d.drop(d.account, d.keep)
	if err != nil {
		reason := "the daemon is still more than the user " + d.account.Name + ": " + strings.ReplaceAll(err.Error(), "\n", "; ")
		d.log.Error("privileges not dropped", "user", d.account.Name, "error", err)
		return wire.Answer{Answer: wire.Defer, Reason: reason[:min(len(reason), wire.MaxText)], Retry: wire.InMicros(demotionRetry)}
	}
	close(d.done)
	d.log.Info("privileges dropped", "user", d.account.Name, "uid", d.account.UID, "gid", d.account.GID, "kept", kept.String())
	return wire.Answer{Answer: wire.Accept}
}

// finished reports whether the privileges are dropped.
func (d *demotion) finished() bool {
	select {
	case <-d.done:
		return true
	default:
		return false
	}
}

// warnOf tells of roles that the user of the daemon cannot judge by: without CAP_SYS_PTRACE, which would make it root again,
// the kernel says whose a connection is, and not which program of somebody else's it is.
func (d *demotion) warnOf(policy *access.Policy) {
	if d != nil && policy.NeedsExe() {
		d.log.Warn("a role names a program (exe:…); after PRE_PRIV_DROP that fits only programs of the daemon's own user", "user", d.account.Name)
	}
}

// entered tells it the state. It never blocks.
func (d *demotion) entered(state wire.State) {
	if state != wire.Initialized {
		return
	}
	select {
	case d.passed <- struct{}{}:
	default: // it was told already
	}
}

// Run implements [boot.Part]. It ends the daemon when the device has gone on all the same, by a limit or somebody's word.
func (d *demotion) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-d.passed:
	}
	if !d.finished() {
		return fmt.Errorf("INITIALIZED is entered, and the daemon is not the user %s yet; it does not go on as root", d.account.Name)
	}
	return nil
}
