//go:build stock

package main

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// natsCommand is the stock command line of NATS; "make stock" installs and names it.
var natsCommand = flag.String("nats", "", "path of the nats command")

// TestShell plays the notifier in shell.
func TestShell(t *testing.T) {
	if *natsCommand == "" {
		t.Fatal("name the nats command: -args -nats=PATH; make stock does")
	}
	url, file := device(t), filepath.Join(t.TempDir(), "backup.pid")
	script := exec.CommandContext(t.Context(), "../backup.sh")
	script.Env = append(os.Environ(), "NATS_URL="+url, "BACKUP_FILE="+file, "HOME="+t.TempDir(),
		"PATH="+filepath.Dir(*natsCommand)+":"+os.Getenv("PATH"))
	script.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // to end it with what it has started
	if err := script.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Kill(-script.Process.Pid, syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		_ = script.Wait() // it is told to end
	}()
	wantHold(t, url, file)
}
