package linux

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// device is a Timer behind a device file (Linux, Documentation/watchdog/watchdog-api.rst).
type device struct {
	f       *os.File
	timeout time.Duration
}

// magicClose is what a device file is told before it is closed, to disarm the timer.
const magicClose = "V"

// OpenTimer opens the device file of a timer with open (nil: os.OpenFile), which has it run, and asks for a timeout in
// whole seconds. The hardware may take another; [Timer.Timeout] says which.
func OpenTimer(path string, timeout time.Duration, open func(string, int, fs.FileMode) (*os.File, error)) (Timer, error) {
	if open == nil {
		open = os.OpenFile
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode()&fs.ModeCharDevice == 0 {
		return nil, fmt.Errorf("%s is no device file", path)
	}
	f, err := open(path, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	d := &device{f: f}
	if _, err := unix.IoctlGetWatchdogInfo(int(f.Fd())); err != nil {
		return nil, errors.Join(fmt.Errorf("%s is no watchdog: %w", path, err), f.Close())
	}
	if err := d.begin(int(timeout / time.Second)); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), d.Disarm(), f.Close())
	}
	return d, nil
}

// begin sets the timeout, and reads what it is.
func (d *device) begin(seconds int) error {
	fd := int(d.f.Fd())
	err := unix.IoctlSetPointerInt(fd, unix.WDIOC_SETTIMEOUT, seconds)
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOTTY) { // one that is fixed will do
		return fmt.Errorf("its timeout cannot be %d s: %w", seconds, err)
	}
	taken, err := unix.IoctlGetInt(fd, unix.WDIOC_GETTIMEOUT)
	if err != nil {
		return fmt.Errorf("its timeout is not known: %w", err)
	}
	if taken <= 0 {
		return fmt.Errorf("its timeout is %d s; 1 or more would be right", taken)
	}
	d.timeout = time.Duration(taken) * time.Second
	return nil
}

func (d *device) Timeout() time.Duration { return d.timeout }

func (d *device) Feed() error { return unix.IoctlWatchdogKeepalive(int(d.f.Fd())) }

func (d *device) Disarm() error {
	_, err := d.f.WriteString(magicClose)
	return err
}

func (d *device) Close() error { return d.f.Close() }
