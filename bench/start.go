package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"

	"muster/internal/daemon"
	"muster/wire"
)

// starts measures the program as a process: its size as a file, the time from its start on an empty folder to
// OPERATIONAL, and the memory that it holds when nothing happens.
func starts(set Setting, report func(Row)) error {
	file, err := os.Stat(set.Program)
	if err != nil {
		return fmt.Errorf("%w; build it with make build, or name it with -muster", err)
	}
	report(absolute("size of the program, stripped", float64(file.Size())/1e6, "MB", 24))
	var took []time.Duration
	for range 4 * runs {
		err := start(set.Program, func(_ int, d time.Duration) error {
			took = append(took, d)
			return nil
		})
		if err != nil {
			return err
		}
	}
	report(absolute("start on an empty folder to OPERATIONAL", millis(median(took)), "ms", 30))
	return start(set.Program, func(pid int, _ time.Duration) error {
		resident, err := awaitIdle(pid)
		report(absolute("resident memory when idle", resident, "MB", 30))
		return err
	})
}

// start runs the program until f returns, which is given its process and the time that it took to OPERATIONAL: from
// before the process was made to the stamp of the state, by the same clock.
func start(program string, f func(pid int, took time.Duration) error) (err error) {
	dir, err := os.MkdirTemp("", "muster-bench-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cmd := exec.Command(program, "run", "--dir", dir, "--listen", "127.0.0.1:0", "--log-level", "error") //nolint:noctx // it is told to end
	cmd.Stderr = os.Stderr
	_, began := wire.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, cmd.Process.Signal(syscall.SIGTERM), cmd.Wait())
	}()
	view, err := awaitOperational(dir)
	if err != nil {
		return err
	}
	return f(cmd.Process.Pid, view.Since.Sub(began))
}

// awaitOperational waits until the daemon on that folder is ready and the system is OPERATIONAL.
func awaitOperational(dir string) (view wire.StateView, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var run daemon.RunFile
	err = poll(ctx, time.Millisecond, func() (bool, error) {
		run, err = daemon.ReadRunFile(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return true, err
	})
	if err != nil {
		return view, fmt.Errorf("wait for run.json: %w", err)
	}
	nc, err := nats.Connect(run.URL)
	if err != nil {
		return view, err
	}
	defer nc.Close()
	err = poll(ctx, time.Millisecond, func() (bool, error) {
		view, err = request(nc, wire.StateGet, wire.Empty{})
		return view.State == wire.Operational, err
	})
	return view, err
}

// awaitIdle gives the resident memory of a process in MB, once it has not grown for a second.
func awaitIdle(pid int) (megabytes float64, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	last, still := 0, 0
	err = poll(ctx, 100*time.Millisecond, func() (bool, error) {
		now, err := residentKiB(pid)
		if now > last {
			still = 0
		}
		last = now
		still++
		return still > 10, err
	})
	return float64(last) * 1024 / 1e6, err
}

// residentKiB reads VmRSS.
func residentKiB(pid int) (int, error) {
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0, err
	}
	_, rest, _ := bytes.Cut(status, []byte("VmRSS:"))
	fields := bytes.Fields(rest)
	if len(fields) == 0 {
		return 0, fmt.Errorf("process %d has no VmRSS", pid)
	}
	return strconv.Atoi(string(fields[0]))
}

// poll asks done again and again until it is.
func poll(ctx context.Context, every time.Duration, done func() (bool, error)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
