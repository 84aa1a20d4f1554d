package cli

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// process is one that the demo has started: this program again, as the daemon or as a participant.
type process struct {
	name  string
	cmd   *exec.Cmd
	lines chan string   // what it says on its standard output
	done  chan struct{} // closed when it has ended
	err   error         // how it ended, once done is closed

	dismissed atomic.Bool // it is to end now
}

// startProcess starts the program with those arguments. What it reports to standard error goes to <dir>/<name>.log.
//
// It is in a process group of its own, so that a Ctrl-C in the terminal reaches the demo alone, which then ends the
// others in order; and where the system can, it ends with the demo even if that is killed.
func startProcess(program, dir, name string, args ...string) (*process, error) {
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close() //nolint:errcheck // the process has its own descriptor
	cmd := &exec.Cmd{Path: program, Args: append([]string{"muster"}, args...), Stderr: log, SysProcAttr: ownGroup()}
	cmd.Env = slices.DeleteFunc(os.Environ(), func(entry string) bool { return strings.HasPrefix(entry, "MUSTER_") })
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p := &process{name: name, cmd: cmd, lines: make(chan string, 64), done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The system ends the process with the thread that has started it, so the thread stays.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			p.lines <- scanner.Text()
		}
		p.err = cmd.Wait()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

// line gives the next line that the process says.
func (p *process) line(ctx context.Context) (string, error) {
	select {
	case line := <-p.lines:
		return line, nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// ended reports whether the process is gone.
func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// kill ends the process without asking it, and waits until it is gone.
func (p *process) kill() {
	p.dismissed.Store(true)
	_ = p.cmd.Process.Kill() // it may be gone already
	<-p.done
}

// stop asks the process to end, and kills it if it has not within that time or when ctx is done.
func (p *process) stop(ctx context.Context, grace time.Duration) {
	p.dismissed.Store(true)
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may be gone already
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	select {
	case <-p.done:
	case <-ctx.Done():
		p.kill()
	}
}
