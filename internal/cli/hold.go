package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"muster/client"
	"muster/wire"
)

// The exit codes of a command that could not be started, as shells have them.
const (
	exitNoStart   = 126
	exitNoCommand = 127
	exitSignal    = 128 // + the signal's number
)

// farewell is how long the daemon may take to hear that a hold is over.
const farewell = 2 * time.Second

func (a *app) holdCommand() *cobra.Command {
	var opts client.NotifierOptions
	var states []string
	var why, name string
	c := &cobra.Command{
		Use:                   "hold [flags] [--] CMD [ARG…]",
		DisableFlagsInUseLine: true,
		GroupID:               "state",
		Short:                 "Keep the device from moving to a state while a command runs",
		Long: `Keep the device from moving to a state while a command runs, as systemd-inhibit does for the session.

Whoever wishes for the state meanwhile is told TEXT. The move goes on as soon as the command has ended.
It is made all the same when it was held for longer than its limit, which is said on standard error; so
is a loss of the bus. Neither ends the command.

The command gets standard input and output as they are, and the signals that this one gets. The exit code
is the command's: 128 + n when signal n ended it, 127 when there is no such command, 126 when it could
not be started. Nothing is started when the hold cannot be taken.`,
		Example: "  muster hold --state MODAL_UPDATING --why 'a backup runs' -- rsync -a /data /mnt\n" +
			"  muster hold --state OPERATIONAL --why 'fsck' --required --name fsck fsck -p /dev/sda1",
		Args: asUsed,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveDefault
		},
		RunE: func(c *cobra.Command, args []string) error {
			for _, text := range states {
				state, err := readState(c, text)
				if err != nil {
					return err
				}
				opts.States = append(opts.States, state)
			}
			if name == "" {
				name = holdName(args[0])
			}
			opts.About = fmt.Sprintf("holds while %.60q runs", filepath.Base(args[0])) // its arguments are nobody's business
			h := hold{app: a, args: args, why: why}
			if err := h.check(c, name); err != nil {
				return err
			}
			return h.run(c.Context(), name, opts)
		},
	}
	flags := c.Flags()
	flags.SetInterspersed(false) // what follows CMD is CMD's
	flags.StringSliceVar(&states, "state", nil, "the `STATE` that is not to be entered; may be given several times")
	flags.StringVar(&why, "why", "", "`TEXT` that tells others why")
	flags.StringVar(&name, "name", "", "`NAME` of the notifier (default made of CMD and the process number)")
	flags.IntVar(&opts.Order, "order", 0, "notifiers are asked from the lowest order up: `N`")
	flags.BoolVar(&opts.Required, "required", false, "hold on even if this command is killed, until the notifier is back")
	for _, flag := range []string{"state", "why"} {
		_ = c.MarkFlagRequired(flag) // they are there
	}
	completeFlag(c, "state", completeStates)
	for _, flag := range []string{"why", "name", "order"} {
		completeFlag(c, flag, cobra.NoFileCompletions)
	}
	return c
}

// holdName makes a notifier's name of a command: "hold-rsync-4711".
func holdName(command string) string {
	plain := strings.Map(func(c rune) rune {
		if wire.CheckName("", string(c)) != nil {
			return '-'
		}
		return c
	}, filepath.Base(command))
	return fmt.Sprintf("hold-%.40s-%d", plain, os.Getpid())
}

// hold is a command that runs, and that keeps the device from moving meanwhile.
type hold struct {
	app  *app
	args []string
	why  string
	over atomic.Bool // the command has ended
}

// check finds out what is wrong before anything is held.
func (h *hold) check(c *cobra.Command, name string) error {
	if err := client.Defer(h.why).Check(); err != nil {
		return misused(c, "--why: %s", wire.AsError(err).Message)
	}
	if err := wire.CheckName("notifier", name); err != nil {
		return misused(c, "--name: %s", wire.AsError(err).Message)
	}
	_, err := exec.LookPath(h.args[0])
	switch {
	case err == nil:
		return nil
	case errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist):
		return coded{fmt.Errorf("there is no command %s", h.args[0]), exitNoCommand}
	}
	return coded{fmt.Errorf("%s cannot be started: %w", h.args[0], err), exitNoStart}
}

// run takes the hold, runs the command, and lets go.
func (h *hold) run(ctx context.Context, name string, opts client.NotifierOptions) error {
	bus, err := h.app.connect(ctx)
	if err != nil {
		return err
	}
	defer bus.Close()
	notifier, err := bus.Register(ctx, name, h.answer, opts)
	if err != nil {
		return err
	}
	err = h.command()
	h.over.Store(true)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell) // a signal has no say in this
	defer cancel()
	h.letGo(ctx, notifier)
	return err
}

// answer is the notifier's.
func (h *hold) answer(_ context.Context, q wire.Question) wire.Answer {
	if h.over.Load() {
		return client.Accept()
	}
	if q.Final {
		h.say("%s was held for as long as it may be; it is entered although the command runs", q.To)
	}
	return client.Defer(h.why)
}

// letGo lets the device move. Where that cannot be said, the end of the connection says it, which is all that is lost.
func (h *hold) letGo(ctx context.Context, notifier *client.Notifier) {
	_, err := notifier.Resume(ctx)
	if err == nil {
		err = notifier.Leave(ctx)
	}
	if err != nil {
		h.say("the daemon was not told that the hold is over: %s", message(err))
	}
}

func (h *hold) say(format string, args ...any) {
	fmt.Fprintf(h.app.Err, "muster: "+format+"\n", args...)
}

// command runs the command to its end, whatever happens, and gives its exit code as an error.
func (h *hold) command() error {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, slices.DeleteFunc(slices.Clone(signalled), signal.Ignored)...) // under nohup it stays ignored
	defer signal.Stop(signals)
	cmd := exec.Command(h.args[0], h.args[1:]...) //nolint:noctx // a signal is the command's to answer, not its end
	cmd.Stdin, cmd.Stdout, cmd.Stderr = h.app.In, h.app.Out, h.app.Err
	if err := cmd.Start(); err != nil {
		return coded{fmt.Errorf("%s cannot be started: %w", h.args[0], err), exitNoStart}
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			if !fromTerminal(s) {
				_ = cmd.Process.Signal(s) // it may have ended just now
			}
		case err := <-ended:
			return exitOf(cmd, err)
		}
	}
}

// exitOf gives the exit code of a command as an error, nil for 0.
func exitOf(cmd *exec.Cmd, err error) error {
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		return fmt.Errorf("run %s: %w", cmd.Path, err)
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return codeError(exitSignal + int(status.Signal()))
	}
	if code := cmd.ProcessState.ExitCode(); code != 0 {
		return codeError(code)
	}
	return nil
}

// signalled lists what a command may be told by signals.
var signalled = []os.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGINT, syscall.SIGQUIT}

// fromTerminal reports whether a terminal has sent a signal, and then to the command as well.
func fromTerminal(s os.Signal) bool {
	return (s == syscall.SIGINT || s == syscall.SIGQUIT) && inForeground()
}

// inForeground reports whether this process is among those that its terminal sends signals to.
func inForeground() bool {
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false // there is none
	}
	defer func() { _ = tty.Close() }() // it was only looked at
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}
