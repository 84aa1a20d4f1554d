//go:build linux && netns

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"muster/client"
	"muster/internal/daemon"
	"muster/system/boot"
	"muster/wire"
)

// device is a machine with one Ethernet port at the end of a cable, and this program as its daemon.
type device struct {
	*place
	world    *place // at the other end
	dir      string
	captured *captured
	daemon   *started
	bus      *client.Client
	network  *nats.Subscription // all of sys.network.>
}

// The network of the play.
const (
	worldAddress = "198.51.100.1"
	port         = "eth0"   // of the device
	outlet       = "outlet" // in the world, for it
)

// leaseScript is what a DHCP client does with a lease, as a device would.
const leaseScript = `#!/bin/sh
case "$1" in
deconfig) ip address flush dev "$interface" scope global ;;
bound | renew)
	ip address replace "$ip/$mask" dev "$interface"
	ip route replace default via "$router" dev "$interface"
	;;
esac
`

// newDevice makes the device and a world that gives addresses and names, and the time.
func newDevice(t *testing.T) *device {
	t.Helper()
	needs(t, map[string]string{"dnsmasq": "dnsmasq-base", "chronyd": "chrony", "udhcpc": "udhcpc", "ip": "iproute2"})
	d := &device{world: newPlace(t, "world"), place: newPlace(t, "device"), dir: t.TempDir()}
	d.captured = capture(t, d.place)
	d.world.cable(outlet, d.place, port)
	d.world.address(outlet, worldAddress+"/24")
	d.world.start("dnsmasq-base", exec.Command("dnsmasq", //nolint:noctx // ended with the test
		"--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--pid-file=", "--user=root", "--log-facility=-",
		"--interface="+outlet, "--bind-dynamic", "--dhcp-leasefile="+filepath.Join(d.dir, "leases"), "--dhcp-range=198.51.100.50,198.51.100.59,2m", "--no-ping",
		"--dhcp-option=option:router,"+worldAddress, "--address=/example.com/"+worldAddress))
	d.chrony(d.world, "local stratum 3\nallow all\n")
	return d
}

// chrony starts the real one, which is told never to touch the clock.
func (d *device) chrony(where *place, config string) *started {
	d.t.Helper()
	dir := filepath.Join(d.dir, "chrony-"+where.name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		d.t.Fatal(err)
	}
	file := filepath.Join(dir, "chrony.conf")
	config += fmt.Sprintf("driftfile %[1]s/drift\npidfile %[1]s/pid\nbindcmdaddress %[1]s/socket\n", dir)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		d.t.Fatal(err)
	}
	return where.start("chrony", exec.Command("chronyd", "-d", "-x", "-u", "root", "-f", file)) //nolint:noctx // ended with the test
}

// lease starts the DHCP client.
func (d *device) lease() {
	d.t.Helper()
	script := filepath.Join(d.dir, "lease")
	if err := os.WriteFile(script, []byte(leaseScript), 0o700); err != nil {
		d.t.Fatal(err)
	}
	d.start("udhcpc", exec.Command("udhcpc", "-f", "-i", port, "-s", script, "-t", "20", "-T", "1", "-A", "1")) //nolint:noctx // ended with the test
}

// muster is this program, at the device. It finds no other programs, above all not the one that would ask this machine's
// systemd to go down.
func (d *device) muster(args ...string) *exec.Cmd {
	d.t.Helper()
	program, err := os.Executable()
	if err != nil {
		d.t.Fatal(err)
	}
	cmd := exec.CommandContext(d.t.Context(), program)
	cmd.Args = append([]string{"muster"}, args...)
	cmd.Env = []string{"PATH=" + d.dir, "MUSTER_DIR=" + filepath.Join(d.dir, "muster")}
	return cmd
}

// boot starts the daemon and hears what it tells.
func (d *device) boot(config string) {
	d.t.Helper()
	file := filepath.Join(d.dir, "muster.toml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		d.t.Fatal(err)
	}
	cmd := d.muster("run", "--config", file, "--listen", "127.0.0.1:0")
	cmd.Cancel = func() error { return nil } // it is told to end, or killed with its group
	d.daemon = d.start("", cmd)
	var run daemon.RunFile
	eventually(d.t, "the daemon says where it is", func() (ok bool) {
		var err error
		run, err = daemon.ReadRunFile(filepath.Join(d.dir, "muster"))
		return err == nil
	})
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	var err error
	if d.bus, err = client.Connect(ctx, "unix://"+run.Socket, client.Options{Patient: true}); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(d.bus.Close)
	if d.network, err = d.bus.Conn().SubscribeSync("sys.network.>"); err == nil {
		err = d.bus.Conn().Flush()
	}
	if err != nil {
		d.t.Fatal(err)
	}
}

// wantHeld waits until a state is held by a notifier for a reason with those words.
func (d *device) wantHeld(to wire.State, by, why string) {
	d.t.Helper()
	var last string
	defer func() {
		if d.t.Failed() {
			d.t.Logf("the device is at %s", last)
		}
	}()
	eventually(d.t, fmt.Sprintf("%s is held by %s: %s", to, by, why), func() bool {
		view, err := d.bus.State(d.t.Context())
		if err != nil {
			d.t.Fatal(err)
		}
		last = view.State.String()
		if view.Transition == nil {
			return false
		}
		last += fmt.Sprintf(", on its way to %s, held by %+v", view.Transition.To, view.Transition.Holders)
		return view.Transition.To == to && slices.ContainsFunc(view.Transition.Holders, func(h wire.Holder) bool {
			return h.Notifier == by && strings.Contains(h.Reason, why)
		})
	})
}

// wantState waits for a state.
func (d *device) wantState(state wire.State) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	outcome, err := d.bus.Request(ctx, wire.StateWish{Target: state, Reason: "test", Wait: wire.InMicros(patience)})
	if err != nil || outcome.Outcome != wire.OutcomeReached {
		view, _ := d.bus.State(d.t.Context()) // for the words only
		d.t.Fatalf("%s: %+v, %v\n%+v", state, outcome, err, view)
	}
}

// wantTold waits for an event of the network that says so.
func (d *device) wantTold(what, news string) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	var told []string
	for {
		m, err := d.network.NextMsgWithContext(ctx)
		if err != nil {
			d.t.Fatalf("sys.network.%s does not tell %q: %v; told was:\n%s", what, news, err, strings.Join(told, "\n"))
		}
		var c boot.Change
		if err := wire.Decode(m.Data, &c); err != nil {
			d.t.Fatalf("%s: %v", m.Subject, err)
		}
		told = append(told, fmt.Sprintf("%s: %q > %q, %s", m.Subject, c.Old, c.New, c.Reason))
		if m.Subject == "sys.network."+what && strings.Contains(c.New, news) {
			return
		}
	}
}

// wantBlame holds what "muster blame" says of the boot against words that it is to have.
func (d *device) wantBlame(words ...string) {
	d.t.Helper()
	text, err := d.run(d.muster("blame"))
	if err != nil {
		d.t.Fatalf("%v\n%s", err, text)
	}
	for _, w := range words {
		if !strings.Contains(text, w) {
			d.t.Errorf("blame does not say %q:\n%s", w, text)
		}
	}
}

const bootConfig = `
platform = "linux"
[network]
mode = "observe"
interfaces = ["eth0"]
fall_back = true
settle = "200ms"
[clock]
mode = "observe"
`

// TestNetworkBoot boots a device from nothing on the network to OPERATIONAL, with the programs that real devices have,
// takes things away from it again, and in the end takes it down.
func TestNetworkBoot(t *testing.T) {
	d := newDevice(t)
	d.boot(bootConfig)

	d.wantHeld(wire.DHCP, "network", "eth0 has no link since ")
	d.up(port)
	d.world.up(outlet)
	d.wantTold("link", "up")
	d.wantHeld(wire.DHCP, "network", "no address of global scope on eth0 since ")
	d.lease()
	d.wantTold("address", "198.51.100.5")
	d.wantTold("route", worldAddress)
	d.wantTold("online", "online")

	d.wantHeld(wire.TimeValid, "clock", "the clock is not synchronised, say the kernel, systemd-timesyncd and chrony, since ")
	d.chrony(d.place, "server "+worldAddress+" iburst minpoll 0 maxpoll 0\n")
	d.wantTold("clock", "valid")
	d.wantState(wire.Operational)
	d.wantBlame("OPERATIONAL after", "network", "eth0 has no link", "clock", "the clock is not synchronised")

	d.world.down(outlet)
	d.wantTold("link", "down")
	d.wantTold("online", "offline")
	d.wantHeld(wire.DHCP, "network", "eth0 has no link since ")
	d.world.up(outlet)
	d.wantTold("online", "online")
	d.wantState(wire.Operational)

	later := time.Now().UTC().Add(time.Hour).Format(time.RFC3339)
	for _, op := range []struct {
		call string
		args []string
	}{
		{"step to " + later, []string{"op", "set-clock", later}},
		{"reboot 0x1234567", []string{"op", "reboot", "--reason", "test"}},
	} {
		if text, err := d.run(d.muster(op.args...)); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		eventually(t, "the kernel is told to "+op.call, func() bool { return d.captured.has(op.call) })
	}
	if err := d.daemon.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-d.daemon.done:
	case <-time.After(patience):
		t.Fatal("the daemon does not end")
	}
	if code := d.daemon.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("the daemon has ended with %d", code)
	}
}
