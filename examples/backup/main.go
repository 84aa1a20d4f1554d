// Command backup is a whole notifier: neither an update nor the end of the system begins while a backup is being made,
// which a file says, /run/backup.pid or the one that is named.
package main

import (
	"context"
	"log"
	"os"
	"time"

	"muster/client"
	"muster/wire"
)

func main() {
	file := "/run/backup.pid"
	if len(os.Args) > 1 {
		file = os.Args[1]
	}
	log.Fatal(run(context.Background(), os.Getenv("MUSTER_SERVER"), file))
}

// run takes part until ctx is done. An empty server means nats://127.0.0.1:4222; should nobody be there yet, it waits.
func run(ctx context.Context, server, file string) error {
	bus, err := client.Connect(ctx, server, client.Options{Patient: true})
	if err != nil {
		return err
	}
	defer bus.Close()
	_, err = bus.Register(ctx, "backup", func(context.Context, wire.Question) wire.Answer {
		if _, err := os.Stat(file); err == nil {
			return client.DeferFor("a backup is being made", 10*time.Second)
		}
		return client.Accept()
	}, client.NotifierOptions{States: []wire.State{wire.AwaitingModalUpdating, wire.ContextDestroying}})
	if err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}
