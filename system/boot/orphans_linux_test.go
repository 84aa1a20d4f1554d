package boot

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// runProgram has this test binary run that program and nothing else, so that it can be killed meanwhile.
const runProgram = "MUSTER_TEST_RUN_PROGRAM"

func TestMain(m *testing.M) {
	if path := os.Getenv(runProgram); path != "" {
		exit, err := Processes{}.Run(context.Background(), Program{Path: path, Env: environment()})
		fmt.Fprintln(os.Stderr, exit, err)
		os.Exit(1) //nolint:forbidigo // this is a main of its own
	}
	os.Exit(m.Run()) //nolint:forbidigo // this is main
}

// TestProcessesOrphaned kills the process that runs a program, which ends with it.
func TestProcessesOrphaned(t *testing.T) {
	runtime.LockOSThread() // the process below ends with this thread
	defer runtime.UnlockOSThread()
	file := filepath.Join(t.TempDir(), "pid")
	path := program(t, "#!/bin/sh\necho $$ > "+file+".new; mv "+file+".new "+file+"\nexec sleep 600\n")
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env, cmd.Stderr = append(os.Environ(), runProgram+"="+path), os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	pid := 0
	for pid == 0 {
		text, err := os.ReadFile(file)
		if err == nil {
			if pid, err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil {
				t.Fatal(err)
			}
			break
		}
		select {
		case err := <-ended:
			t.Fatalf("it ended before it was killed: %v", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
	if !alive(pid) {
		t.Fatal("the program does not run")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("it ended well before it was killed")
	}
	for deadline := time.Now().Add(10 * time.Second); alive(pid); {
		if time.Now().After(deadline) {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it is not to outlive the test too
			t.Fatalf("the program %d lives on", pid)
		}
		<-time.After(time.Millisecond)
	}
}

// TestProcessesStay has threads end while a program runs. It is not killed with any of them.
func TestProcessesStay(t *testing.T) {
	dir := t.TempDir()
	begun, gate := fifo(t, filepath.Join(dir, "begun")), fifo(t, filepath.Join(dir, "gate"))
	path := program(t, "#!/bin/sh\necho begun > "+begun.Name()+"\nread word < "+gate.Name()+"\n")
	type result struct {
		exit Exit
		err  error
	}
	for range 20 {
		results := make(chan result, 1)
		go func() {
			exit, err := Processes{}.Run(t.Context(), Program{Path: path, Env: environment()})
			results <- result{exit, err}
		}()
		if _, err := begun.Read(make([]byte, len("begun\n"))); err != nil {
			t.Fatalf("the program does not begin: %v", err)
		}
		ends := make(chan struct{})
		for range 64 {
			go func() {
				runtime.LockOSThread() // which ends with this goroutine
				ends <- struct{}{}
			}()
		}
		for range 64 {
			<-ends
		}
		if _, err := gate.WriteString("go\n"); err != nil {
			t.Fatal(err)
		}
		if r := <-results; r.err != nil || r.exit.Code != 0 {
			t.Fatalf("it ended with %+v", r)
		}
	}
}

// fifo makes a named pipe, which is good for both ends, and for ten seconds.
func fifo(t *testing.T, path string) *os.File {
	t.Helper()
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	pipe, err := os.OpenFile(path, os.O_RDWR, 0)
	if err == nil {
		err = pipe.SetDeadline(time.Now().Add(10 * time.Second))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pipe.Close() }) // it has done its work
	return pipe
}
