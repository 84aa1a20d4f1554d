package main

import (
	"context"
	"errors"

	"github.com/rogpeppe/go-internal/testscript"

	"muster/client"
	"muster/wire"
)

// attend is a process that runs its part of the loop's work: it answers with what it was handed, and fails when that
// tells it to.
func attend(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: attend NAME")
	}
	bus, err := client.Connect(context.Background(), ts.Getenv("URL"), client.Options{Name: "attend"})
	ts.Check(err)
	ts.Defer(bus.Close)
	_, err = bus.Handle(args[0], func(_ context.Context, call wire.Call) (any, error) {
		var order struct {
			Fail string `json:"fail"`
		}
		if err := call.Data.Into(&order); err == nil && order.Fail != "" {
			return nil, errors.New(order.Fail)
		}
		return map[string]any{"given": call.Data, "state": call.State}, nil
	})
	ts.Check(err)
	ts.Check(bus.Conn().Flush())
}
