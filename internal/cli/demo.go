package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
)

func (a *app) demoCommand() *cobra.Command {
	var once, observe bool
	c := &cobra.Command{
		Use:     "demo",
		GroupID: "daemon",
		Short:   "Watch three processes hold and release the boot of a device",
		Long: `Watch three processes hold and release the boot of a device.

The demo starts a daemon on a port of the kernel's choice and three participants, each of them a process
of its own. The boot also waits for the network and the clock of this machine as they really are, for at most
a second each, and says what it goes on without; --observe=false leaves them out. It tells what happens and
why, shows where the time of the boot went, and then stays up until Ctrl-C, for you to try the other commands
on it. Nothing of the host is touched: the platform is a simulation, and the folder a temporary one that is
removed at the end, unless --dir names another.`,
		Example: "  muster demo\n  muster demo --once --observe=false\n  muster demo --dir /tmp/device",
		Args:    asUsed,
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case a.server != "":
				return misused(c, "demo starts a daemon of its own; --server means nothing to it")
			case a.output != "text":
				return misused(c, "demo tells a story, which is text only")
			}
			ctx := c.Context()
			if !signal.Ignored(syscall.SIGHUP) { // as under nohup; for the daemon alone it means something else
				var stop context.CancelFunc
				ctx, stop = signal.NotifyContext(ctx, syscall.SIGHUP)
				defer stop()
			}
			return a.demo(ctx, once, observe)
		},
	}
	c.Flags().BoolVar(&once, "once", false, "end when the story is told: with 0 if all went as it should, else with 1")
	c.Flags().BoolVar(&observe, "observe", true, "boot by what the network and the clock of this machine are like")
	return c
}

// demo has the story told on a stage, and leaves neither a process nor a temporary folder behind, however it ends.
func (a *app) demo(ctx context.Context, once, observe bool) (err error) {
	// A reader who leaves, as in "muster demo | head", is a failed write rather than the end of this process.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program, to start it again: %w", err)
	}
	dir, remove, err := a.demoFolder()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	playing, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	s := &stage{program: program, dir: dir, observe: observe, fail: fail, story: newStory(a.Out, fail)}
	defer s.clear()
	err = s.play(playing, once)
	cause := context.Cause(playing)
	switch {
	case errors.Is(cause, syscall.EPIPE), ctx.Err() != nil && once:
		return codeError(exitFailed)
	case ctx.Err() != nil, errors.Is(cause, errOver):
		return nil
	case cause != nil:
		return s.explain(cause)
	case err != nil:
		return s.explain(err)
	}
	return nil
}

// demoFolder gives the folder of the demo's daemon, and what is to be done with it at the end.
func (a *app) demoFolder() (dir string, remove func() error, err error) {
	if a.dir == "" {
		dir, err = os.MkdirTemp("", "muster-demo-")
		if err != nil {
			return "", nil, hinted{fmt.Errorf("make a folder for the demo: %w", err), "name one with --dir, or set TMPDIR"}
		}
		return dir, func() error { return os.RemoveAll(dir) }, nil
	}
	if dir, err = filepath.Abs(a.dir); err != nil {
		return "", nil, err
	}
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = os.MkdirAll(dir, 0o700)
	case err == nil && len(entries) > 0:
		err = fmt.Errorf("%s is not empty; a folder that is empty or not there yet would be right", a.dir)
	}
	if err != nil {
		return "", nil, fmt.Errorf("folder of the demo: %w", err)
	}
	return dir, func() error { return nil }, nil
}
