//go:build linux && netns

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// captured are the system calls at a place that would have set the clock or taken the machine down. They are answered as
// if they were done, and the kernel does not get to see them. Asked whether the clock is synchronised, the kernel says
// that it is not: that of this machine may be.
type captured struct {
	listener int

	mu    sync.Mutex
	calls []string // "step to 2026-11-25T00:00:00Z", "slew 100ms", "reboot 0x1234567"
	fault error
}

// capture captures them from all that will be started at the place.
func capture(t *testing.T, p *place) *captured {
	t.Helper()
	c := &captured{}
	p.must("install the filter of system calls", func() (err error) { c.listener, err = filterCalls(); return err })
	end, stop, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	answering := make(chan struct{})
	go func() { defer close(answering); c.answer(int(end.Fd())) }()
	t.Cleanup(func() {
		_ = stop.Close()
		<-answering
		_ = end.Close()
		_ = unix.Close(c.listener)
		if c.fault != nil {
			t.Error("answer system calls:", c.fault)
		}
	})
	p.must("see that the clock cannot be set", func() error {
		// No kernel has such a clock, so only one who is not the kernel says that this is done.
		if _, _, errno := unix.RawSyscall(unix.SYS_CLOCK_SETTIME, 4242, 0, 0); errno != 0 {
			return errno
		}
		return nil
	})
	return c
}

// filterCalls puts a filter on this thread and whoever comes from it, and gives the descriptor that tells of them.
func filterCalls() (int, error) {
	arch, ok := map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}[runtime.GOARCH]
	if !ok {
		return 0, fmt.Errorf("on %s: %w", runtime.GOARCH, errors.ErrUnsupported)
	}
	const (
		number, architecture = 0, 4 // of struct seccomp_data
		load, equal, give    = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	)
	filter := []unix.SockFilter{
		{Code: load, K: architecture},
		{Code: equal, K: arch, Jt: 1},
		{Code: give, K: unix.SECCOMP_RET_KILL_PROCESS},
		{Code: load, K: number},
	}
	calls := []uint32{unix.SYS_CLOCK_SETTIME, unix.SYS_SETTIMEOFDAY, unix.SYS_ADJTIMEX, unix.SYS_CLOCK_ADJTIME, unix.SYS_REBOOT}
	for i, call := range calls {
		filter = append(filter, unix.SockFilter{Code: equal, K: call, Jt: uint8(len(calls) - i)})
	}
	filter = append(filter,
		unix.SockFilter{Code: give, K: unix.SECCOMP_RET_ALLOW}, unix.SockFilter{Code: give, K: unix.SECCOMP_RET_USER_NOTIF})
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	fd, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER,
		uintptr(unsafe.Pointer(&program)))
	runtime.KeepAlive(filter)
	if errno != 0 {
		return 0, errno
	}
	return int(fd), nil
}

// notification is the kernel's struct seccomp_notif.
type notification struct {
	id         uint64
	pid, flags uint32
	call       int32
	arch       uint32
	at         uint64
	args       [6]uint64
}

// verdict is its struct seccomp_notif_resp.
type verdict struct {
	id    uint64
	value int64
	fault int32
	flags uint32
}

// answer answers them until the other descriptor is closed on the far side.
func (c *captured) answer(end int) {
	for {
		ready := []unix.PollFd{{Fd: int32(c.listener), Events: unix.POLLIN}, {Fd: int32(end), Events: unix.POLLIN}}
		if _, err := unix.Poll(ready, -1); err != nil && !errors.Is(err, unix.EINTR) {
			c.fault = err
			return
		}
		if ready[1].Revents != 0 {
			return
		}
		if ready[0].Revents&unix.POLLIN == 0 {
			continue
		}
		var n notification
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(c.listener), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&n)))
		if errno != 0 { // it was killed meanwhile
			continue
		}
		v := verdict{id: n.id, value: c.judge(n)}
		// Whoever was killed meanwhile needs no answer.
		_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(c.listener), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&v)))
	}
}

// judge notes a call that would have changed something, and gives what it is to return.
func (c *captured) judge(n notification) int64 {
	switch n.call {
	case unix.SYS_REBOOT:
		c.note("reboot %#x", n.args[2])
	case unix.SYS_CLOCK_SETTIME:
		if b, ok := memory(n.pid, n.args[1], 16); ok {
			sec, nsec := binary.NativeEndian.Uint64(b), binary.NativeEndian.Uint64(b[8:])
			c.note("step to %s", time.Unix(int64(sec), int64(nsec)).UTC().Format(time.RFC3339Nano))
		}
	case unix.SYS_SETTIMEOFDAY:
		c.note("settimeofday")
	case unix.SYS_ADJTIMEX:
		return c.judgeTimex(n.pid, n.args[0])
	case unix.SYS_CLOCK_ADJTIME:
		return c.judgeTimex(n.pid, n.args[1])
	}
	return 0
}

// judgeTimex does so for a struct timex.
func (c *captured) judgeTimex(pid uint32, at uint64) int64 {
	const readOnly = 0x2000 // ADJ_OFFSET_READONLY
	b, ok := memory(pid, at, 16)
	if modes := binary.NativeEndian.Uint32(slices.Concat(b, make([]byte, 4))); ok && modes != 0 && modes&readOnly == 0 {
		c.note("slew %v", time.Duration(binary.NativeEndian.Uint64(b[8:]))*time.Microsecond)
		return unix.TIME_OK
	}
	return unix.TIME_ERROR
}

// memory reads another process's.
func memory(pid uint32, at uint64, length int) ([]byte, bool) {
	b := make([]byte, length)
	n, err := unix.ProcessVMReadv(int(pid), []unix.Iovec{{Base: &b[0], Len: uint64(length)}},
		[]unix.RemoteIovec{{Base: uintptr(at), Len: length}}, 0)
	if err != nil || n != length {
		return nil, false
	}
	return b, true
}

func (c *captured) note(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, fmt.Sprintf(format, args...))
}

// has reports whether a call was captured.
func (c *captured) has(call string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Contains(c.calls, call)
}
