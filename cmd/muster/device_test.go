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
	"testing"

	"github.com/nats-io/nats.go"
	"golang.org/x/sys/unix"

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
	web      *web
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
	// As another user or group it would outlive a test that is killed: with those goes the wish to end with its parent.
	d.world.start("dnsmasq-base", exec.Command("dnsmasq", //nolint:noctx // ended with the test
		"--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--pid-file=", "--user=root", "--group=root", "--log-facility=-",
		"--interface="+outlet, "--bind-dynamic", "--dhcp-leasefile="+filepath.Join(d.dir, "leases"), "--dhcp-range=198.51.100.50,198.51.100.59,2m", "--no-ping",
		"--dhcp-option=option:router,"+worldAddress, "--address=/example.com/"+worldAddress))
	d.chrony(d.world, "local stratum 3\nallow all\n")
	d.web = weave(t, d.world, d.dir)
	d.resolve()
	return d
}

// resolve has whoever is at the device ask the world for names, as the lease would say.
func (d *device) resolve() {
	d.t.Helper()
	mine := filepath.Join(d.dir, "resolv.conf")
	d.must("ask the world for names", func() error {
		theirs, err := filepath.EvalSymlinks("/etc/resolv.conf")
		if err != nil {
			return err
		}
		if err := os.WriteFile(mine, []byte("nameserver "+worldAddress+"\noptions timeout:1\n"), 0o600); err != nil {
			return err
		}
		return unix.Mount(mine, theirs, "", unix.MS_BIND, "")
	})
}

// chrony starts the real one, which is told never to touch the clock.
func (d *device) chrony(where *place, config string) {
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
	where.start("chrony", exec.Command("chronyd", "-d", "-x", "-u", "root", "-f", file)) //nolint:noctx // ended with the test
}

// lease starts the DHCP client.
func (d *device) lease() {
	d.t.Helper()
	d.start("udhcpc", exec.Command("udhcpc", "-f", "-i", port, "-s", d.file("lease", leaseScript), "-t", "20", "-T", "1", "-A", "1")) //nolint:noctx // ended with the test
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
	cmd.Env = []string{"PATH=" + d.dir, "MUSTER_DIR=" + filepath.Join(d.dir, "muster"), "SSL_CERT_FILE=" + d.web.roots}
	return cmd
}

// boot starts the daemon and hears what it tells.
func (d *device) boot(config string) {
	d.t.Helper()
	cmd := d.muster("run", "--config", d.file("muster.toml", config), "--listen", "127.0.0.1:0")
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

// wantOperational waits until the device is.
func (d *device) wantOperational() {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), patience)
	defer cancel()
	outcome, err := d.bus.Request(ctx, wire.StateWish{Target: wire.Operational, Reason: "test", Wait: wire.InMicros(patience)})
	if err != nil || outcome.Outcome != wire.OutcomeReached {
		view, _ := d.bus.State(d.t.Context()) // for the words only
		d.t.Fatalf("OPERATIONAL: %+v, %v\n%+v", outcome, err, view)
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

// file writes one, and gives its path.
func (d *device) file(name, text string) string {
	d.t.Helper()
	path := filepath.Join(d.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil { // some of them are programs
		d.t.Fatal(err)
	}
	return path
}

// tells runs a command at the device, which is to succeed.
func (d *device) tells(args ...string) {
	d.t.Helper()
	if text, err := d.run(d.muster(args...)); err != nil {
		d.t.Fatalf("%v\n%s", err, text)
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
