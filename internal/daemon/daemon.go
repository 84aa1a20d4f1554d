package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"muster/blobs"
	"muster/bus"
	"muster/internal/durable"
	"muster/internal/seal"
	"muster/internal/systemd"
	"muster/internal/version"
	"muster/system"
	"muster/system/boot"
	"muster/system/linux"
	"muster/wire"
)

// Options are what a daemon is given besides its configuration.
type Options struct {
	Log *slog.Logger
	// Reload gives configurations whose roles are to be in force from then on; of the rest nothing changes. The policy is
	// read again, too.
	Reload <-chan Config
	// Stdin is read into a blob, if it is not nil.
	Stdin *Input
	// Platform stands in for the configured one; nil: there is none to stand in.
	Platform system.Platform
	// Timer stands in for the configured watchdog; nil: there is none to stand in.
	Timer linux.Timer
	// Ready is told once every endpoint answers and run.json is written.
	Ready func(RunFile)
}

// Daemon is muster, put together.
type Daemon struct {
	config   Config
	opts     Options
	unlock   func() error
	platform system.Platform
	lock     *linux.Lock // at logind; nil where the platform has none
	watchdog *linux.Watchdog
	served   bool      // the bus was open to others
	demotion *demotion // to the configured user; nil where there is none

	key       seal.Key // of the store
	snapshots seal.Dir // of the blobs

	bus        *bus.Bus
	bucket     *bus.Bucket
	timeline   *system.Timeline
	memory     *memory
	machine    *system.Machine
	loops      *system.Loops
	service    *systemd.Service
	seat       atomic.Pointer[nats.Conn] // of this process among the clients; nil where systemd does not want to know
	operations *system.Operations
	parts      []boot.Part
	policy     *boot.Policy // nil when there is none
	blobs      *blobs.Blobs

	policyAgain chan struct{} // has the policy read again
}

// The times of the daemon's own.
const (
	loadBudget = 30 * time.Second // for the store at the start
	downBudget = time.Minute      // for the device to go down at the end
)

// Run is the daemon's life: it starts everything, boots, and serves until CONTEXT_DESTROYING has been reached, by
// anybody's wish or because ctx is done; then it stops everything and does what was asked. What keeps it from starting
// is returned with its reason.
func Run(ctx context.Context, config Config, opts Options) error {
	if err := config.Check(); err != nil {
		return err
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	d := &Daemon{config: config, opts: opts, platform: platformOf(ctx, config, opts)}
	service, err := systemd.New(systemd.Options{Look: d.look, Log: opts.Log})
	if err != nil {
		return err
	}
	d.service = service
	if d.demotion, err = config.begin(opts.Log); err != nil {
		return err
	}
	err = d.open(ctx)
	if err == nil {
		err = d.serveUntilTheEnd(ctx)
	}
	return errors.Join(err, d.close())
}

// open starts what everything else stands on, in order.
func (d *Daemon) open(ctx context.Context) error {
	log := d.opts.Log
	if err := os.MkdirAll(d.config.Dir, 0o700); err != nil {
		return fmt.Errorf("make the folder: %w", err)
	}
	unlock, err := durable.Lock(filepath.Join(d.config.Dir, "lock"))
	if errors.Is(err, durable.ErrLocked) {
		return fmt.Errorf("another daemon runs on this folder: %w", err)
	}
	if err != nil {
		return fmt.Errorf("lock the folder: %w", err)
	}
	d.unlock = unlock
	if err := d.openStore(ctx); err != nil {
		return err
	}
	timelines, err := durable.OpenDir(filepath.Join(d.config.Dir, "timeline"))
	if err != nil {
		return err
	}
	if d.timeline, err = system.OpenTimeline(timelines, d.platform, deviceBoot(), log); err != nil {
		return err
	}
	known, err := durable.OpenDir(filepath.Join(d.config.Dir, "known"))
	if err != nil {
		return err
	}
	d.memory = newMemory(known, log)
	policy, err := d.config.policy()
	if err != nil {
		return err
	}
	d.demotion.warnOf(policy)
	socket, tooLong := d.config.socket()
	if tooLong != "" {
		log.Warn("no socket, for its path would be too long; name another in socket.path", "path", tooLong)
	}
	d.bus, err = bus.Open(bus.Options{
		Dir: d.config.Dir, Listen: d.config.Listen, Boot: d.timeline.Boot(), Version: version.String(), Clock: d.platform,
		Log: log, MaxStore: d.config.Store.MaxBytes, Key: d.key.Reveal(), Policy: policy, Socket: socket, Bounds: d.config.bounds(),
		WebSocket: bus.WebSocket(d.config.WebSocket),
	})
	d.key.Wipe() // the server has it now
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, loadBudget)
	defer cancel()
	if err := d.openBlobs(ctx); err != nil {
		return err
	}
	return d.assemble(ctx)
}

// platformOf makes the platform of the configuration, or takes the one that stands in for it.
func platformOf(ctx context.Context, config Config, opts Options) system.Platform {
	switch {
	case opts.Platform != nil:
		return opts.Platform
	case config.Platform == platformLinux:
		return linux.New(linux.Options{Ways: linux.Ways(config.RebootBy), Log: opts.Log, Leave: ctx.Done()})
	default:
		return &system.Sim{}
	}
}

// record tells the parts that follow the transitions.
func (d *Daemon) record(t wire.Transition) {
	d.timeline.Record(t)
	d.service.Changed()
}

// entered tells the parts that go by the state.
func (d *Daemon) entered(state wire.State) {
	d.loops.Entered(state)
	d.service.Changed()
	if d.lock != nil {
		d.lock.Entered(state)
	}
	if d.demotion != nil {
		d.demotion.entered(state)
	}
}

// openBlobs loads the blobs and checks them.
func (d *Daemon) openBlobs(ctx context.Context) (err error) {
	if d.bucket, err = d.bus.Bucket(ctx); err != nil {
		return err
	}
	d.blobs = blobs.New(blobs.Options{
		Store: bucket{d.bucket}, Snapshots: d.snapshots, Log: d.opts.Log,
		Changed: func(k wire.BlobKey, revision uint64, size int64) {
			d.bus.Tell(wire.BlobTopic(k), &wire.BlobEvent{Revision: revision, Size: size})
		},
	})
	_, err = d.blobs.Load(ctx)
	return err
}

// assemble makes the machine and what hangs on it, and binds the endpoints.
func (d *Daemon) assemble(ctx context.Context) error {
	log := d.opts.Log
	queue, err := d.bus.Queue(ctx)
	if err != nil {
		return err
	}
	asked := participants{d.bus}
	d.loops = system.NewLoops(d.config.Loops, system.LoopOptions{
		Clock: d.platform, Journal: d.bus, Caller: asked, Bookings: queue, Tell: asked.tell(log), Log: log, May: d.bus.May,
	}, nil, d.bus)
	if err := d.loops.Load(ctx); err != nil {
		return err
	}
	d.machine = system.NewMachine(system.Options{
		Boot: d.timeline.Boot(), DeviceBoot: deviceBoot(), Version: version.String(), Clock: d.platform, Journal: d.bus,
		Asker: asked, Presence: d.bus, Memory: d.memory, Log: log, Limits: d.config.limits(), Required: d.config.requirements(),
		May: d.bus.May, Record: d.record, Entered: d.entered, Destroying: d.loops.Destroy,
	})
	if _, ok := d.platform.(*linux.Platform); ok {
		d.lock = linux.NewLock(d.machine, linux.LockOptions{Log: log})
	}
	d.operations = &system.Operations{Platform: d.platform, Earliest: version.Made(), Down: d.machine.Reboot}
	if err := d.addParts(ctx); err != nil {
		return err
	}
	d.bus.OnGone(func(conn uint64) {
		d.machine.Gone(conn)
		d.loops.Gone(conn)
	})
	if err := d.serve(); err != nil {
		return err
	}
	return d.bus.Flush()
}

// serveUntilTheEnd runs every part until the system has reached CONTEXT_DESTROYING.
func (d *Daemon) serveUntilTheEnd(ctx context.Context) error {
	// The parts outlive ctx: its end is the wish for a state, which they have to reach first.
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	g, run := errgroup.WithContext(run)
	d.arm() // as long as the daemon may open it
	g.Go(func() error { return d.machine.Run(run) })
	g.Go(func() error { return d.loops.Run(run) })
	g.Go(func() error { return d.timeline.Run(run) })
	g.Go(func() error { return d.memory.run(run) })
	g.Go(func() error { d.watchBucket(run); return nil })
	g.Go(func() error { return d.reload(run) })
	for _, part := range d.parts {
		g.Go(func() error { return part.Run(run) })
	}
	if d.lock != nil {
		g.Go(func() error { return d.holdLock(run) })
	}
	if err := d.letIn(run); err != nil {
		stop()
		return errors.Join(err, g.Wait())
	}
	d.served = true
	file := RunFile{PID: os.Getpid(), URL: d.bus.URL(), Socket: d.bus.SocketPath(), Boot: d.timeline.Boot(), Dir: d.config.Dir}
	if err := file.write(); err != nil { // whoever knows the address finds the daemon without it
		d.opts.Log.Error("run file not written", "error", err)
	}
	g.Go(func() error { return d.supervise(run) })
	d.opts.Log.Info("ready", "url", file.URL, "boot", file.Boot, "dir", file.Dir)
	if d.opts.Ready != nil {
		d.opts.Ready(file)
	}
	select {
	case <-d.machine.Over():
	case <-run.Done(): // a part has failed
	case <-ctx.Done():
		d.service.Stopping()
		d.wishForTheEnd(run)
	}
	d.service.Stopping()
	stop()
	return errors.Join(g.Wait(), file.remove())
}

// holdLock holds the lock at logind, where a connection stays whose it was when it was made: so not before the daemon is
// who it is to be.
func (d *Daemon) holdLock(ctx context.Context) error {
	if d.demotion != nil {
		select {
		case <-d.demotion.done:
		case <-ctx.Done():
			return nil
		}
	}
	return d.lock.Run(ctx)
}

// letIn opens the bus to others, once this boot has a state.
func (d *Daemon) letIn(ctx context.Context) error {
	select {
	case <-d.machine.Begun():
	case <-ctx.Done(): // a part has failed, and has said why
		return nil
	}
	return d.bus.Listen()
}

// wishForTheEnd is what a signal does. Whoever holds the end has the time that its limit gives.
func (d *Daemon) wishForTheEnd(ctx context.Context) {
	wish := wire.StateWish{Target: wire.ContextDestroying, Reason: "the daemon is told to stop"}
	outcome, err := d.machine.Request(ctx, wire.Internal, wish)
	if err != nil {
		d.opts.Log.Error("end not wished for", "error", err)
		return
	}
	if outcome.Outcome != wire.OutcomeReached {
		d.opts.Log.Warn("end not reached yet", "outcome", string(outcome.Outcome), "holders", outcome.Holders)
	}
	select {
	case <-d.machine.Over():
	case <-ctx.Done(): // a part has failed
	}
}

// reload puts other roles in force, as often as it is told to. Roles that are wrong change nothing.
func (d *Daemon) reload(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case config := <-d.opts.Reload:
			d.service.Reloading()
			d.readPolicyAgain()
			d.reloadRoles(config)
			d.service.Reloaded()
		}
	}
}

func (d *Daemon) reloadRoles(config Config) {
	policy, err := config.policy()
	if err == nil {
		err = d.bus.SetPolicy(policy)
	}
	if err != nil {
		d.opts.Log.Error("roles not reloaded", "error", err)
		return
	}
	d.demotion.warnOf(policy)
	d.opts.Log.Info("roles reloaded", "roles", len(config.Roles))
}

// watchBucket adopts what other clients write to the bucket.
func (d *Daemon) watchBucket(ctx context.Context) {
	d.bucket.Watch(ctx, func(key string, revision uint64) {
		if err := d.blobs.Changed(ctx, key, revision); err != nil && ctx.Err() == nil {
			d.opts.Log.Error("blob of another client not taken", "blob", key, "error", err)
		}
	})
}

// close takes everything apart in reverse, and then goes down if that was asked for.
func (d *Daemon) close() error {
	var errs []error
	if d.bus != nil {
		errs = append(errs, d.bus.Close())
	}
	errs = append(errs, d.disarm())
	if d.machine != nil {
		if r, ok := d.machine.AtTheEnd(); ok {
			errs = append(errs, d.goDown(r))
		}
	}
	if d.unlock != nil {
		errs = append(errs, d.unlock())
	}
	return errors.Join(errs...)
}

// goDown has the device go down. One that is still there when its time is over is an error, so that whoever watches over
// the daemon can start it again.
func (d *Daemon) goDown(r wire.Reboot) error {
	d.opts.Log.Info("going down", "mode", string(r.Mode), "why", r.Reason, "platform", d.platform.Name())
	ctx, cancel := context.WithTimeout(context.Background(), downBudget)
	defer cancel()
	down := make(chan error, 1)
	go func() { down <- d.platform.GoDown(ctx, r.Mode, r.Reason) }()
	select {
	case err := <-down:
		switch {
		case err == nil:
			return nil
		case ctx.Err() == nil:
			return fmt.Errorf("%s: %w", r.Mode, err)
		}
	case <-ctx.Done():
	}
	return fmt.Errorf("the %s has not happened within %v", r.Mode, downBudget)
}

// limits gives the configured times as the machine takes them.
func (c Config) limits() system.Limits {
	limits := system.Limits{
		Hold: map[wire.State]system.HoldLimit{}, Stay: map[wire.State]time.Duration{},
		Pause: time.Duration(c.Pause), Rejoin: time.Duration(c.Rejoin),
	}
	for name, hold := range c.Hold {
		state, _ := wire.ParseState(name) // Check has seen to it
		limits.Hold[state] = system.HoldLimit{After: time.Duration(hold.Limit), OnLimit: hold.OnLimit}
	}
	for name, stay := range c.Stay {
		state, _ := wire.ParseState(name)
		limits.Stay[state] = time.Duration(stay)
	}
	return limits
}

func (c Config) requirements() []system.Requirement {
	var required []system.Requirement
	for _, r := range c.Required {
		required = append(required, system.Requirement{Name: r.Name, States: r.States})
	}
	return required
}
