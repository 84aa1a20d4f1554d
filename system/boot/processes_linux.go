package boot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Processes runs programs as processes of this machine, each in a process group of its own. It refuses one that somebody else than
// root or the daemon's own user could have written.
//
// A program ends with the daemon even if that is killed, so that the next daemon does not start it beside itself. That is true of
// the program alone: what it has started itself lives on unless systemd, or who else looks after the daemon, ends its whole group.
// Nor does it hold for a program that gains rights by being started (set-user-ID or file capabilities).
type Processes struct{}

// Run implements [Runner]. What a program left running in its group is killed when it ends.
func (Processes) Run(ctx context.Context, p Program) (Exit, error) {
	if err := trusted(p.Path, os.Geteuid()); err != nil {
		return Exit{}, err
	}
	var output tail
	result := bounded{most: p.Result}
	cmd := exec.CommandContext(ctx, p.Path, p.Args...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = p.Env, "/", &output, &output
	if p.Input != nil {
		cmd.Stdin = bytes.NewReader(p.Input)
	}
	if p.Result > 0 {
		cmd.Stdout = &result
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return killGroup(cmd.Process.Pid) }
	cmd.WaitDelay = time.Second // for who left the group and still has our end of the output
	// The system sends that signal at the end of the thread that has started the program, so the thread stays.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return Exit{}, err
	}
	awaitEnd(cmd.Process.Pid)
	left := killGroup(cmd.Process.Pid) // before Wait, as long as the number cannot be another's
	err := cmd.Wait()
	exit := Exit{Code: cmd.ProcessState.ExitCode(), How: cmd.ProcessState.String(), Output: string(output), Result: string(result.kept)}
	if ctx.Err() != nil && exit.Code != exitAccept {
		return exit, ctx.Err()
	}
	if _, ended := errors.AsType[*exec.ExitError](err); ended || errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	if result.over && err == nil {
		err = fmt.Errorf("it wrote more than %d bytes", p.Result)
	}
	if err = errors.Join(err, left); err != nil {
		return exit, fmt.Errorf("%s: %w", p.Path, err)
	}
	return exit, nil
}

// awaitEnd waits until a child has ended, and leaves it to be collected.
func awaitEnd(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// killGroup kills a process group; one that has nobody left in it is no error.
func killGroup(leader int) error {
	if err := unix.Kill(-leader, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.EPERM) {
		return err
	}
	return nil
}
