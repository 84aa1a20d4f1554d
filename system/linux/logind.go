package linux

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/godbus/dbus/v5"

	"muster/wire"
)

// Logind is systemd's login manager, which takes the device down and lets others delay or forbid that. The zero value
// works; each call makes a connection to the system's D-Bus of its own, which DBUS_SYSTEM_BUS_ADDRESS may name.
type Logind struct {
	Log *slog.Logger // of its sessions; nil: none
}

const (
	loginName      = "org.freedesktop.login1"
	loginPath      = "/org/freedesktop/login1"
	loginInterface = "org.freedesktop.login1.Manager"
)

// methods are logind's names of the modes.
var methods = map[wire.RebootMode]string{wire.ModeReboot: "Reboot", wire.ModeHalt: "Halt", wire.ModePoweroff: "PowerOff"}

// Name implements [Way].
func (Logind) Name() string { return "logind" }

// Can implements [Way].
func (l Logind) Can(ctx context.Context) error {
	return l.with(ctx, func(manager dbus.BusObject) error {
		var answer string
		if err := call(ctx, manager, "CanReboot").Store(&answer); err != nil {
			return err
		}
		if answer == "yes" {
			return nil
		}
		return held(ctx, manager, fmt.Errorf("its answer is %q", answer))
	})
}

// GoDown implements [Way].
func (l Logind) GoDown(ctx context.Context, mode wire.RebootMode) error {
	return l.with(ctx, func(manager dbus.BusObject) error {
		if err := call(ctx, manager, methods[mode], false).Err; err != nil {
			return held(ctx, manager, err)
		}
		return nil
	})
}

// held gives a refusal as a [*HeldError] where somebody's lock is behind it.
func held(ctx context.Context, manager dbus.BusObject, refusal error) error {
	var locks []struct {
		What, Who, Why, Mode string
		UID, PID             uint32
	}
	if err := call(ctx, manager, "ListInhibitors").Store(&locks); err != nil {
		return refusal
	}
	var holders []string
	for _, lock := range locks {
		if lock.Mode == "block" && slices.Contains(strings.Split(lock.What, ":"), "shutdown") {
			holders = append(holders, fmt.Sprintf("%s (%s, process %d)", lock.Who, lock.Why, lock.PID))
		}
	}
	if len(holders) == 0 {
		return refusal
	}
	return &HeldError{holders}
}

// with lends f the manager of logind, over a connection of its own.
func (l Logind) with(ctx context.Context, f func(manager dbus.BusObject) error) error {
	conn, err := connect(ctx)
	if err != nil {
		return err
	}
	return errors.Join(f(conn.Object(loginName, loginPath)), conn.Close())
}

// connect makes a connection to the system's D-Bus. It is closed when ctx is done.
func connect(ctx context.Context, opts ...dbus.ConnOption) (*dbus.Conn, error) {
	opts = append(opts, dbus.WithContext(ctx), dbus.WithAuth(dbus.AuthExternal(strconv.Itoa(os.Geteuid()))))
	conn, err := dbus.ConnectSystemBus(opts...)
	if err != nil {
		return nil, fmt.Errorf("connect to D-Bus: %w", err)
	}
	return conn, nil
}

// call calls a method of the manager.
func call(ctx context.Context, manager dbus.BusObject, method string, args ...any) *dbus.Call {
	return manager.CallWithContext(ctx, loginInterface+"."+method, 0, args...)
}
