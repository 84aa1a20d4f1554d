package boot

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Netlink hears of the network from the kernel. What the kernel tells of changes is taken as a bell only, and everything
// is listed anew then: it does not tell of the routes that go with a link. It takes no privilege.
type Netlink struct{}

// Watch implements [NetworkSource].
func (Netlink) Watch(ctx context.Context, tell func([]Fact)) error {
	var (
		bell      = make(chan struct{}, 1)
		failed    = make(chan error, 1)
		links     = make(chan netlink.LinkUpdate)
		addresses = make(chan netlink.AddrUpdate)
		routes    = make(chan netlink.RouteUpdate)
		hearing   sync.WaitGroup
		done      = make(chan struct{})
	)
	defer hearing.Wait()
	defer close(done)
	fail := func(err error) {
		select {
		case failed <- err:
		default:
		}
	}
	if err := netlink.LinkSubscribeWithOptions(links, done, netlink.LinkSubscribeOptions{ErrorCallback: fail}); err != nil {
		return fmt.Errorf("listen for links: %w", err)
	}
	hearing.Go(func() { ringFor(links, bell) })
	if err := netlink.AddrSubscribeWithOptions(addresses, done, netlink.AddrSubscribeOptions{ErrorCallback: fail}); err != nil {
		return fmt.Errorf("listen for addresses: %w", err)
	}
	hearing.Go(func() { ringFor(addresses, bell) })
	if err := netlink.RouteSubscribeWithOptions(routes, done, netlink.RouteSubscribeOptions{ErrorCallback: fail}); err != nil {
		return fmt.Errorf("listen for routes: %w", err)
	}
	hearing.Go(func() { ringFor(routes, bell) })
	for {
		picture, err := everything()
		switch {
		case errors.Is(err, netlink.ErrDumpInterrupted): // it changed meanwhile
			if ctx.Err() == nil {
				continue
			}
		case err != nil:
			return err
		default:
			tell(picture)
		}
		select {
		case <-bell:
		case err := <-failed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ringFor rings for each update, until there are no more.
func ringFor[T any](updates <-chan T, bell chan<- struct{}) {
	for range updates {
		select {
		case bell <- struct{}{}:
		default: // it rings already
		}
	}
}

// everything lists what is there.
func everything() (picture []Fact, err error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	for _, l := range links {
		a := l.Attrs()
		const both = unix.IFF_UP | unix.IFF_RUNNING
		picture = append(picture, Fact{Kind: Link, Index: a.Index, Name: a.Name, Up: a.RawFlags&both == both})
	}
	addresses, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addresses {
		if a.Scope == int(netlink.SCOPE_UNIVERSE) && a.Flags&unix.IFA_F_TENTATIVE == 0 && !a.IP.IsLoopback() {
			picture = append(picture, Fact{Kind: Address, Index: a.LinkIndex, Value: a.IPNet.String()})
		}
	}
	routes, err := netlink.RouteList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	for _, r := range routes {
		picture = append(picture, defaults(r)...)
	}
	return picture, nil
}

// defaults gives the facts that a route is, if it is a default one: one for each way that it goes.
func defaults(r netlink.Route) (found []Fact) {
	if r.Dst != nil {
		if length, _ := r.Dst.Mask.Size(); length > 0 || !r.Dst.IP.IsUnspecified() {
			return nil
		}
	}
	if r.Type != unix.RTN_UNICAST {
		return nil
	}
	ways := r.MultiPath
	if len(ways) == 0 {
		ways = []*netlink.NexthopInfo{{LinkIndex: r.LinkIndex, Gw: r.Gw}}
	}
	for _, w := range ways {
		gateway := ""
		if w.Gw != nil {
			gateway = w.Gw.String()
		}
		found = append(found, Fact{Kind: Route, Index: w.LinkIndex, Value: gateway})
	}
	return found
}
