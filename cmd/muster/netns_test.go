//go:build linux && netns

package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// place is a machine of the play: a network and mounts of its own, on a thread of its own. Who is started there lives
// there and ends with the test, at the latest when this process does.
type place struct {
	t    *testing.T
	name string
	jobs chan func()
	over chan struct{}
	net  *netlink.Handle
}

// newPlace makes one with a loopback interface and, on /run, an empty folder. It needs root.
func newPlace(t *testing.T, name string) *place {
	t.Helper()
	p := &place{t: t, name: name, jobs: make(chan func()), over: make(chan struct{})}
	go func() {
		defer close(p.over)
		runtime.LockOSThread() // and never unlocked: it ends with its goroutine
		for job := range p.jobs {
			job()
		}
	}()
	t.Cleanup(func() { close(p.jobs); <-p.over })
	p.must("make namespaces (this test needs root)", func() error {
		return unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS)
	})
	p.must("keep mounts here", func() error { return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "") })
	p.must("mount /run", func() error { return unix.Mount("run", "/run", "tmpfs", 0, "mode=0755") })
	p.must("open netlink", func() (err error) { p.net, err = netlink.NewHandle(unix.NETLINK_ROUTE); return err })
	t.Cleanup(p.net.Close)
	p.up("lo")
	return p
}

// do runs something there.
func (p *place) do(job func() error) error {
	done := make(chan error, 1)
	p.jobs <- func() { done <- job() }
	return <-done
}

// must does so, and the test ends where it fails.
func (p *place) must(what string, job func() error) {
	p.t.Helper()
	if err := p.do(job); err != nil {
		p.t.Fatalf("%s: %s: %v", p.name, what, err)
	}
}

// up gives an interface a link, for its part.
func (p *place) up(name string) {
	p.t.Helper()
	link, err := p.net.LinkByName(name)
	if err == nil {
		err = p.net.LinkSetUp(link)
	}
	if err != nil {
		p.t.Fatalf("%s: set %s up: %v", p.name, name, err)
	}
}

// down takes it away.
func (p *place) down(name string) {
	p.t.Helper()
	link, err := p.net.LinkByName(name)
	if err == nil {
		err = p.net.LinkSetDown(link)
	}
	if err != nil {
		p.t.Fatalf("%s: set %s down: %v", p.name, name, err)
	}
}

// address gives an interface an address.
func (p *place) address(name, address string) {
	p.t.Helper()
	link, err := p.net.LinkByName(name)
	if err != nil {
		p.t.Fatal(err)
	}
	parsed, err := netlink.ParseAddr(address)
	if err == nil {
		err = p.net.AddrAdd(link, parsed)
	}
	if err != nil {
		p.t.Fatalf("%s: give %s the address %s: %v", p.name, name, address, err)
	}
}

// cable lays one between an interface here and one there; both are made for it.
func (p *place) cable(mine string, other *place, theirs string) {
	p.t.Helper()
	var there *os.File
	other.must("open its network", func() (err error) { there, err = os.Open("/proc/thread-self/ns/net"); return err })
	defer there.Close() //nolint:errcheck // it was only read
	err := p.net.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: mine}, PeerName: theirs, PeerNamespace: netlink.NsFd(there.Fd()),
	})
	if err != nil {
		p.t.Fatalf("lay a cable from %s to %s: %v", p.name, other.name, err)
	}
}

// listen opens a port there.
func (p *place) listen(address string) (listener net.Listener) {
	p.t.Helper()
	p.must("listen at "+address, func() (err error) {
		listener, err = net.Listen("tcp", address) //nolint:noctx // it must be on this thread, and is at once
		return err
	})
	return listener
}

// started is a process of the play.
type started struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	log  transcriptLog
}

// transcriptLog is what a process says.
type transcriptLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer.
func (l *transcriptLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// String gives everything so far.
func (l *transcriptLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// start starts a program there, in a process group of its own which is killed when the test ends. What it says is shown
// when the test has failed.
func (p *place) start(pack string, cmd *exec.Cmd) *started {
	p.t.Helper()
	s := &started{cmd: cmd, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = &s.log, &s.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.do(cmd.Start); err != nil {
		p.t.Fatalf("%s: %v; as root: apt-get install %s", p.name, err, pack)
	}
	go func() {
		_ = cmd.Wait() // the log tells
		close(s.done)
	}()
	p.t.Cleanup(func() {
		s.kill()
		if p.t.Failed() {
			p.t.Logf("%s said:\n%s", cmd.Args[0], s.log.String())
		}
	})
	return s
}

// kill ends it and what it has started, and waits until it is gone.
func (s *started) kill() {
	_ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) // it may be gone
	<-s.done
}

// run runs a program there to its end, and gives what it said.
func (p *place) run(cmd *exec.Cmd) (string, error) {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.do(cmd.Start); err != nil {
		return "", err
	}
	if err := cmd.Wait(); err != nil {
		return out.String(), fmt.Errorf("%s: %w", cmd.Args, err)
	}
	return out.String(), nil
}

// needs ends the test where a program is missing, and says what installs it.
func needs(t *testing.T, packages map[string]string) {
	t.Helper()
	var missing error
	for program, pack := range packages {
		if _, err := exec.LookPath(program); err != nil {
			missing = errors.Join(missing, fmt.Errorf("%w; as root: apt-get install %s", err, pack))
		}
	}
	if missing != nil {
		t.Fatal(missing)
	}
}
