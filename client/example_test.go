package client_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"muster/client"
	"muster/internal/daemon"
	"muster/wire"
)

// device starts a daemon for an example, and gives a connection to it.
func device() (context.Context, *client.Client, func()) {
	dir, err := os.MkdirTemp("", "muster-example-*")
	if err != nil {
		log.Fatal(err)
	}
	config := daemon.DefaultConfig()
	config.Dir, config.Listen = dir, "127.0.0.1:0"
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan daemon.RunFile, 1), make(chan error, 1)
	go func() {
		done <- daemon.Run(ctx, config, daemon.Options{
			Log: slog.New(slog.DiscardHandler), Ready: func(f daemon.RunFile) { ready <- f },
		})
	}()
	c, err := client.Connect(ctx, (<-ready).URL, client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	return ctx, c, func() {
		c.Close()
		cancel()
		if err := <-done; err != nil {
			log.Fatal(err)
		}
		_ = os.RemoveAll(dir) // a temporary folder
	}
}

func ExampleClient_WaitFor() {
	ctx, c, end := device()
	defer end()
	event, err := c.WaitFor(ctx, wire.Operational)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("the device is", event.State)
	// Output: the device is OPERATIONAL
}

func ExampleClient_Watch() {
	ctx, c, end := device()
	defer end()
	for event, err := range c.Watch(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		if event.State == wire.Operational {
			fmt.Println("work begins")
			break
		}
	}
	// Output: work begins
}

func ExampleClient_Request() {
	ctx, c, end := device()
	defer end()
	if _, err := c.WaitFor(ctx, wire.Operational); err != nil {
		log.Fatal(err)
	}
	outcome, err := c.Request(ctx, wire.StateWish{Target: wire.AwaitingModalUpdating, Reason: "new firmware"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(outcome.Outcome, outcome.State)
	// Output: reached AWAITING_MODAL_UPDATING
}

func ExampleClient_Register() {
	ctx, c, end := device()
	defer end()
	if _, err := c.WaitFor(ctx, wire.Operational); err != nil {
		log.Fatal(err)
	}
	var copying atomic.Bool
	copying.Store(true)
	backup, err := c.Register(ctx, "backup", func(_ context.Context, q wire.Question) wire.Answer {
		if copying.Load() {
			return client.Defer("a copy is being made")
		}
		return client.Accept()
	}, client.NotifierOptions{States: []wire.State{wire.AwaitingModalUpdating}})
	if err != nil {
		log.Fatal(err)
	}
	outcome, err := c.Request(ctx, wire.StateWish{Target: wire.AwaitingModalUpdating, Reason: "new firmware"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s by %s: %s\n", outcome.Outcome, outcome.Holders[0].Notifier, outcome.Holders[0].Reason)

	copying.Store(false) // the copy is complete
	if _, err := backup.Resume(ctx); err != nil {
		log.Fatal(err)
	}
	if _, err := c.WaitFor(ctx, wire.AwaitingModalUpdating); err != nil {
		log.Fatal(err)
	}
	fmt.Println("the system has moved on")
	// Output:
	// held by backup: a copy is being made
	// the system has moved on
}

func ExampleClient_Attach() {
	ctx, c, end := device()
	defer end()
	booked, err := c.Attach(ctx, func(_ context.Context, call wire.Call) (any, error) {
		fmt.Println("alone on loop", call.Loop, "in", call.State)
		return nil, nil
	}, wire.Booking{State: wire.Operational})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := booked.Wait(ctx); err != nil {
		log.Fatal(err)
	}
	// Output: alone on loop 0 in OPERATIONAL
}

func ExampleClient_Offer() {
	ctx, c, end := device()
	defer end()
	if _, err := c.Offer(ctx, "greet", func(_ context.Context, call wire.Call) (any, error) {
		var name string
		err := call.Data.Into(&name)
		return "hello " + name, err
	}); err != nil {
		log.Fatal(err)
	}
	name, err := wire.RawOf("loop")
	if err != nil {
		log.Fatal(err)
	}
	booked, err := c.Book(ctx, wire.Booking{Call: "sys.call.greet", Data: name})
	if err != nil {
		log.Fatal(err)
	}
	done, err := booked.Wait(ctx)
	if err != nil {
		log.Fatal(err)
	}
	var greeting string
	if err := done.Result.Into(&greeting); err != nil {
		log.Fatal(err)
	}
	fmt.Println(greeting)
	// Output: hello loop
}

func ExampleClient_Blob() {
	ctx, c, end := device()
	defer end()
	serial := c.Blob("device-serial", 0)
	if _, err := serial.Set(ctx, []byte("SN-0815")); err != nil {
		log.Fatal(err)
	}
	data, _, err := serial.Get(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", data)
	// Output: SN-0815
}

func ExampleClient_Publish() {
	ctx, c, end := device()
	defer end()
	heard := make(chan client.Message)
	go func() {
		for message, err := range c.Listen(ctx, "network.>") {
			if err != nil {
				log.Fatal(err)
			}
			heard <- message
			return
		}
	}()
	// What is sent while nobody listens is gone, and the sender does not wait for anybody. So here it is sent again.
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for {
		if err := c.Publish("network.link", map[string]any{"interface": "eth0", "up": true}); err != nil {
			log.Fatal(err)
		}
		select {
		case message := <-heard:
			fmt.Println("heard", message.Subject)
			return
		case <-again.C:
		}
	}
	// Output: heard sys.network.link
}
