//go:build linux && netns

package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"muster/client"
	"muster/wire"
)

const manageConfig = `
platform = "linux"
[network]
mode = "observe"
interfaces = ["eth0"]
fall_back = true
settle = "200ms"
[portal]
mode = "observe"
http = "http://check.example.com/204"
https = "https://check.example.com/204"
fall_back = true
[clock]
mode = "manage"
[policy]
file = "POLICY"
[identity]
from = ["configured"]
serial = "SN-0815"
[auth1]
mode = "oauth2"
url = "https://login.example.com:8443/token"
secret = "file:SECRET"
fall_back = true
`

const policyText = `version = "1"
issued = 2026-11-01T00:00:00Z
ntp_servers = ["ntp.example.com"]
`

// TestNetworkBoot boots a device from nothing on the network to OPERATIONAL, with the programs that real devices have.
// Everything on the way is missing or wrong at first, and what can be lost again is. In the end it takes the device down.
func TestNetworkBoot(t *testing.T) {
	d := newDevice(t)
	policy := filepath.Join(d.dir, "policy.toml")
	d.web.plain.Store(redirects)
	d.web.secure.Store(demands)
	d.web.tokens.fails.Store(2)
	d.web.tokens.life.Store(5)
	d.boot(strings.NewReplacer("POLICY", policy, "SECRET", d.file("secret", tokenSecret)).Replace(manageConfig))
	d.comesUp()

	d.wantHeld(wire.CPDPreTime, "portal", "a captive portal answers 302 for check.example.com and names http://login.example.com/")
	d.web.plain.Store(free)
	d.wantHeld(wire.TimeValid, "clock", "no server for the time is set in the blob ntp-server")
	d.tells("blob", "set", "ntp-server", d.file("servers", "ntp.example.com\n"))
	d.wantTold("clock", "valid")
	d.wantHeld(wire.CPDPostTime, "portal", "a captive portal answers 511 for check.example.com")
	d.web.secure.Store(free)
	d.wantHeld(wire.PolicyValid, "policy", "there is no policy at "+policy)
	d.file("policy.toml", policyText)
	d.signal(syscall.SIGHUP) // it is looked at every few seconds otherwise
	d.wantTold("policy", "1")
	d.wantHeld(wire.Auth1, "auth1", "answered 503 Service Unavailable 2 times")
	d.wantTold("auth1", "valid")
	d.wantOperational()
	d.wantBlame("OPERATIONAL after", "network", " eth0", "portal", "a captive portal answers", "clock", "no server", "policy",
		"there is no policy at ", "auth1", "a token is being asked for")

	d.web.tokens.fails.Store(-1)
	d.wantTold("auth1", "expired")
	d.wantHeld(wire.Auth1, "auth1", "answered 503")
	d.web.tokens.life.Store(3600)
	d.web.tokens.fails.Store(0)
	d.wantTold("auth1", "valid")
	d.wantOperational()

	d.losesItsLink()
	d.web.plain.Store(redirects)
	eventually(t, "whoever asks sees the portal", func() bool { // a result is good for a second
		look, err := client.Call(t.Context(), d.bus, wire.OpCaptivePortal, wire.Empty{})
		return err == nil && look.Result == wire.PortalCaptive
	})
	d.wantTold("portal", "captive")
	d.wantHeld(wire.CPDPostTime, "portal", "a captive portal answers 302")
	d.web.plain.Store(free)
	d.wantTold("portal", "ok")
	d.wantOperational()
	d.goesDown()
}

const observeConfig = `
platform = "linux"
[network]
mode = "observe"
interfaces = ["eth0"]
fall_back = true
settle = "200ms"
[clock]
mode = "observe"
`

// TestNetworkBootObserves boots a device whose clock is in the hands of chrony, and in the end takes it down.
func TestNetworkBootObserves(t *testing.T) {
	d := newDevice(t)
	d.boot(observeConfig)
	d.comesUp()
	d.wantHeld(wire.TimeValid, "clock", "the clock is not synchronised, say the kernel, systemd-timesyncd and chrony, since ")
	d.chrony(d.place, "server "+worldAddress+" iburst minpoll 0 maxpoll 0\n")
	d.wantTold("clock", "valid")
	d.wantOperational()
	d.wantBlame("OPERATIONAL after", "network", "eth0 has no link", "clock", "the clock is not synchronised")
	d.losesItsLink()
	d.goesDown()
}

// comesUp gives the device a link, then a lease.
func (d *device) comesUp() {
	d.t.Helper()
	d.wantHeld(wire.DHCP, "network", "eth0 has no link since ")
	d.up(port)
	d.world.up(outlet)
	d.wantTold("link", "up")
	d.wantHeld(wire.DHCP, "network", "no address of global scope on eth0 since ")
	d.lease()
	d.wantTold("address", "198.51.100.5")
	d.wantTold("route", worldAddress)
	d.wantTold("online", "online")
}

// losesItsLink pulls the cable out of a device that is OPERATIONAL, and puts it back.
func (d *device) losesItsLink() {
	d.t.Helper()
	d.world.down(outlet)
	d.wantTold("link", "down")
	d.wantTold("online", "offline")
	d.wantHeld(wire.DHCP, "network", "eth0 has no link since ")
	d.world.up(outlet)
	d.wantTold("online", "online")
	d.wantOperational()
}

// signal sends the daemon one.
func (d *device) signal(which os.Signal) {
	d.t.Helper()
	if err := d.daemon.cmd.Process.Signal(which); err != nil {
		d.t.Fatal(err)
	}
}

// goesDown sets the clock and reboots, for all that the device knows.
func (d *device) goesDown() {
	d.t.Helper()
	later := time.Now().UTC().Add(time.Hour).Format(time.RFC3339)
	for _, op := range []struct {
		call string
		args []string
	}{
		{"step to " + later, []string{"op", "set-clock", later}},
		{"reboot 0x1234567", []string{"op", "reboot", "--reason", "test"}},
	} {
		d.tells(op.args...)
		eventually(d.t, "the kernel is told to "+op.call, func() bool { return d.captured.has(op.call) })
	}
	d.signal(syscall.SIGTERM)
	select {
	case <-d.daemon.done:
	case <-time.After(patience):
		d.t.Fatal("the daemon does not end")
	}
	if code := d.daemon.cmd.ProcessState.ExitCode(); code != 0 {
		d.t.Errorf("the daemon has ended with %d", code)
	}
}
