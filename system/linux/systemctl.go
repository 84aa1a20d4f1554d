package linux

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"muster/wire"
)

// Systemctl is the way down by systemd's own command. The zero value is the host's.
type Systemctl struct {
	Command string // "": systemctl
	Booted  string // a folder that is there where systemd runs; "": /run/systemd/system
}

func (s Systemctl) command() string {
	if s.Command != "" {
		return s.Command
	}
	return "systemctl"
}

// Name implements [Way].
func (Systemctl) Name() string { return "systemctl" }

// Can implements [Way].
func (s Systemctl) Can(context.Context) error {
	booted := s.Booted
	if booted == "" {
		booted = "/run/systemd/system"
	}
	if _, err := os.Stat(booted); err != nil {
		return errors.New("systemd does not run here")
	}
	_, err := exec.LookPath(s.command())
	return err
}

// GoDown implements [Way].
func (s Systemctl) GoDown(ctx context.Context, mode wire.RebootMode) error {
	if err := s.Can(ctx); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, s.command(), "--no-ask-password", string(mode)).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %.200s", err, bytes.TrimSpace(out))
	}
	return nil
}
