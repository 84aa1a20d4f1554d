package cli

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"muster/client"
	"muster/wire"
)

// part is what a participant of the demo does on the bus, until ctx is done. What it says goes to its standard output.
type part func(ctx context.Context, bus *client.Client, say func(format string, args ...any)) error

// cast lists the participants of the demo, each of which is played by a process of its own.
var cast = map[string]part{uplinkName: uplink, policyName: policy, recorderName: recorder}

// partCommand is how the demo starts a participant: muster demo-part uplink --server URL.
func (a *app) partCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "demo-part NAME",
		Hidden: true,
		Args:   asUsed,
		RunE: func(c *cobra.Command, args []string) error {
			play, known := cast[args[0]]
			if !known {
				return misused(c, "there is no participant %q; uplink, policy or recorder would be right", args[0])
			}
			return a.with(c.Context(), func(ctx context.Context, bus *client.Client) error {
				say := func(format string, args ...any) { fmt.Fprintf(a.Out, format+"\n", args...) }
				if err := play(ctx, bus, say); err != nil {
					return err
				}
				<-ctx.Done()
				return nil
			})
		},
	}
}

// leaseTime is how long the participant uplink needs to get an address.
const leaseTime = time.Second

// uplink holds DHCP until it has an address, and says so as soon as it has.
func uplink(ctx context.Context, bus *client.Client, say func(string, ...any)) error {
	asked, bound := make(chan struct{}), make(chan struct{})
	first := sync.OnceFunc(func() { close(asked) })
	n, err := bus.Register(ctx, uplinkName, func(context.Context, wire.Question) wire.Answer {
		first()
		select {
		case <-bound:
			return client.Accept()
		default:
			return client.Defer("no address yet")
		}
	}, client.NotifierOptions{States: []wire.State{wire.DHCP}, About: "gets the device an address"})
	if err != nil {
		return err
	}
	say("wants to be asked before DHCP")
	select {
	case <-asked:
	case <-ctx.Done():
		return nil
	}
	select {
	case <-time.After(leaseTime):
	case <-ctx.Done():
		return nil
	}
	close(bound)
	say("has got the address 192.0.2.17, and resumes")
	_, err = n.Resume(ctx)
	return err
}

// fetchTime is how long the participant policy expects to need.
const fetchTime = 500 * time.Millisecond

// policy holds POLICY_VALID and says when to ask again, so it need not say anything when it is done.
func policy(ctx context.Context, bus *client.Client, say func(string, ...any)) error {
	var fetch sync.Once
	_, err := bus.Register(ctx, policyName, func(context.Context, wire.Question) wire.Answer {
		answer := client.Accept()
		fetch.Do(func() { answer = client.DeferFor("the policy is being fetched", fetchTime) })
		return answer
	}, client.NotifierOptions{States: []wire.State{wire.PolicyValid}, About: "fetches the policy"})
	if err != nil {
		return err
	}
	say("wants to be asked before POLICY_VALID")
	return nil
}

// recorder begins its work on the event loop once the device is OPERATIONAL, and wants no update from then on.
func recorder(ctx context.Context, bus *client.Client, say func(string, ...any)) error {
	_, err := bus.Register(ctx, recorderName, func(context.Context, wire.Question) wire.Answer {
		return client.Defer("a recording is running")
	}, client.NotifierOptions{States: []wire.State{wire.AwaitingModalUpdating}, About: "records what the camera sees"})
	if err != nil {
		return err
	}
	_, err = bus.Attach(ctx, func(_ context.Context, call wire.Call) (any, error) {
		say("is called on event loop %d, alone, and begins to record", call.Loop)
		return nil, nil
	}, wire.Booking{State: wire.Operational})
	if err != nil {
		return err
	}
	say("wants to be asked before AWAITING_MODAL_UPDATING, and books a call for OPERATIONAL")
	return nil
}
