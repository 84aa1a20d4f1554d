//go:build linux && netns

package boot

import (
	"context"
	"errors"
	"net"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// isolated is a Netlink in a network namespace that has nothing but a loopback interface, and whose thread ends with it.
type isolated struct{ handles chan *netlink.Handle }

// Watch implements NetworkSource. It must run on a goroutine that ends with it.
func (i isolated) Watch(ctx context.Context, tell func([]Fact)) error {
	runtime.LockOSThread() // and never unlocked: the thread is of no use to anybody else
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	i.handles <- handle
	return Netlink{}.Watch(ctx, tell)
}

// TestNetlink changes the network of a namespace, and wants to hear of each change.
func TestNetlink(t *testing.T) {
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	source := isolated{make(chan *netlink.Handle, 1)}
	pictures, ended := make(chan []Fact), make(chan error, 1)
	go func() {
		ended <- source.Watch(ctx, func(picture []Fact) {
			select {
			case pictures <- picture:
			case <-ctx.Done():
			}
		})
	}()
	await := func(want ...Fact) {
		t.Helper()
		for {
			select {
			case picture := <-pictures:
				if slices.Equal(picture, want) {
					return
				}
			case err := <-ended:
				t.Fatalf("it ended with %v before it told of %+v (this test needs root)", err, want)
			}
		}
	}
	downLo, upLo := Fact{Kind: Link, Index: 1, Name: "lo"}, Fact{Kind: Link, Index: 1, Name: "lo", Up: true}
	await(downLo)

	handle := <-source.handles
	defer handle.Close()
	lo, err := handle.LinkByName("lo")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(err)
	must(handle.LinkSetUp(lo))
	await(upLo)
	address := &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(192, 0, 2, 7).To4(), Mask: net.CIDRMask(24, 32)}}
	must(handle.AddrAdd(lo, address))
	ip := Fact{Kind: Address, Index: 1, Value: "192.0.2.7/24"}
	await(upLo, ip)
	all := &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}
	must(handle.RouteAdd(&netlink.Route{LinkIndex: 1, Dst: all, Scope: netlink.SCOPE_LINK}))
	await(upLo, ip, Fact{Kind: Route, Index: 1}) // the loopback interface takes no gateway
	must(handle.LinkSetDown(lo))                 // the route goes with it, which the kernel does not tell
	await(downLo, ip)
	must(handle.LinkSetUp(lo))
	await(upLo, ip)
	must(handle.AddrDel(lo, address))
	await(upLo)

	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v, want that it was stopped", err)
	}
}
