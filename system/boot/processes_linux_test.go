package boot

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// program writes a program of its own and gives its path.
func program(t *testing.T, text string) string {
	t.Helper()
	return filepath.Join(folder(t, map[string]string{"10-x": text}), "10-x")
}

func TestProcessesExit(t *testing.T) {
	t.Setenv("MUSTER_SECRET", "of the daemon's")
	for name, c := range map[string]struct {
		text string
		want Exit
	}{
		"accept":  {"exit 0", Exit{0, "exit status 0", "", ""}},
		"defer":   {"echo not yet; echo really >&2; exit 21", Exit{21, "exit status 21", "not yet\nreally\n", ""}},
		"signal":  {"kill -SEGV $$", Exit{-1, "signal: segmentation fault", "", ""}},
		"bare":    {"echo $1 ${MUSTER_SECRET-nothing} $MUSTER_TO; pwd; cat", Exit{0, "exit status 0", "DHCP nothing DHCP\n/\n", ""}},
		"leaving": {"sleep 600 & exit 0", Exit{0, "exit status 0", "", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			p := Program{Path: program(t, "#!/bin/sh\n"+c.text+"\n"), Args: []string{"DHCP"}, Env: environment("MUSTER_TO=DHCP")}
			exit, err := Processes{}.Run(t.Context(), p)
			if err != nil || exit != c.want {
				t.Errorf("it ended with %+v, %v; want %+v", exit, err, c.want)
			}
		})
	}
	exit, err := Processes{}.Run(t.Context(), Program{Path: program(t, "#!/bin/sh\nhead -c 100000 /dev/zero | tr '\\0' a; echo the end\n")})
	if err != nil || len(exit.Output) != kept || !strings.HasSuffix(exit.Output, "athe end\n") {
		t.Errorf("of much output %d bytes are kept, %v; want the last %d", len(exit.Output), err, kept)
	}
}

// TestProcessesKilled kills a program with its children when its time is over.
func TestProcessesKilled(t *testing.T) {
	child := filepath.Join(t.TempDir(), "child")
	path := program(t, "#!/bin/sh\nsleep 600 &\necho begun; echo $! > "+child+".new; mv "+child+".new "+child+"\nwait\n")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	type result struct {
		exit Exit
		err  error
	}
	results := make(chan result, 1)
	go func() {
		exit, err := Processes{}.Run(ctx, Program{Path: path, Env: environment()})
		results <- result{exit, err}
	}()
	pid := 0
	for pid == 0 {
		text, err := os.ReadFile(child)
		if errors.Is(err, os.ErrNotExist) {
			select {
			case r := <-results:
				t.Fatalf("it ended before it was killed: %+v", r)
			case <-time.After(5 * time.Millisecond):
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if pid, err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	r := <-results
	if !errors.Is(r.err, context.Canceled) || r.exit.Output != "begun\n" {
		t.Errorf("it ended with %+v, %v; want what it wrote, and that it was killed", r.exit, r.err)
	}
	for deadline := time.Now().Add(10 * time.Second); alive(pid); {
		if time.Now().After(deadline) {
			t.Fatalf("its child %d lives on", pid)
		}
		<-time.After(time.Millisecond)
	}
}

// alive reports whether a process is there, and not only to be collected.
func alive(pid int) bool {
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return err == nil && !strings.Contains(string(status), ") Z ")
}

// TestProcessesRefused has programs that somebody else could have written, or that are none.
func TestProcessesRefused(t *testing.T) {
	good := program(t, "#!/bin/sh\nexit 0\n")
	link := filepath.Join(folder(t, nil), "10-link")
	if err := os.Symlink(good, link); err != nil {
		t.Fatal(err)
	}
	writable, plain, broken := program(t, "#!/bin/sh\n"), program(t, "#!/bin/sh\n"), program(t, "#!/nowhere/sh\n")
	for path, mode := range map[string]os.FileMode{writable: 0o775, plain: 0o644} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	inOpen := program(t, "#!/bin/sh\n")
	if err := os.Chmod(filepath.Dir(inOpen), 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		link:       "is not a plain file (L---------)",
		writable:   "may be written by others (mode 0775); 0755 would be right",
		plain:      "is not executable (mode 0644); 0755 would be right",
		broken:     "no such file or directory",
		good + "x": "no such file or directory",
	} {
		if exit, err := (Processes{}).Run(t.Context(), Program{Path: path}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v; want %s", path, exit, err, want)
		}
	}
	if err := trusted(filepath.Dir(inOpen), os.Geteuid()); err == nil {
		t.Error("a folder in which anybody may make files is trusted")
	}
	if err := trusted(inOpen, os.Geteuid()); err != nil {
		t.Errorf("a file that only its owner can replace, for its folder is sticky: %v", err)
	}
	other := os.Geteuid() + 1
	if os.Geteuid() == 0 {
		if err := os.Chown(good, other, -1); err != nil {
			t.Fatal(err)
		}
		other = 0
	}
	info, err := os.Stat(good)
	if err != nil {
		t.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t).Uid
	want := "belongs to uid " + strconv.Itoa(int(owner)) + "; root's or uid " + strconv.Itoa(other) + "'s would be right"
	if err := trusted(good, other); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("a file of another's: %v, want %s", err, want)
	}
}

// TestTrustedLinks has links lead to a program: what counts is who can change where they lead to, and what is there.
func TestTrustedLinks(t *testing.T) {
	good := program(t, "#!/bin/sh\n")
	shared := folder(t, nil) // in which anybody may put another folder in the place of this one
	dir := filepath.Join(shared, "dir")
	links := folder(t, nil)
	for _, err := range []error{
		os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "10-a"), nil, 0o755), os.Chmod(shared, 0o777),
		os.Symlink(filepath.Dir(good), filepath.Join(links, "good")), os.Symlink("good", filepath.Join(links, "twice")),
		os.Symlink(dir, filepath.Join(links, "shared")), os.Symlink("loop", filepath.Join(links, "loop")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		"good/" + filepath.Base(good):  "",
		"twice/" + filepath.Base(good): "",
		"shared/10-a":                  shared + " may be written by others (mode 0777); 0755 would be right",
		"loop/10-a":                    "too many levels of symbolic links",
	} {
		err := trusted(filepath.Join(links, path), os.Geteuid())
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	if os.Geteuid() != 0 {
		return // only root can give a link away
	}
	if err := os.Lchown(filepath.Join(links, "good"), 1, -1); err != nil {
		t.Fatal(err)
	}
	if err := trusted(filepath.Join(links, "twice", filepath.Base(good)), 0); err == nil || !strings.Contains(err.Error(), "good belongs to uid 1;") {
		t.Errorf("a link of another's: %v", err)
	}
}
