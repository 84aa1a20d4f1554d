package demote

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// thread is what the kernel says of one: the lines of its status, by their names.
type thread struct {
	id   string
	says map[string]string
}

// eachThread has f judge every thread of the process. One that ends meanwhile is none.
func eachThread(f func(thread) error) error {
	const tasks = "/proc/self/task"
	entries, err := os.ReadDir(tasks)
	if err != nil {
		return fmt.Errorf("list the threads: %w", err)
	}
	for _, entry := range entries {
		text, err := os.ReadFile(filepath.Join(tasks, entry.Name(), "status"))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue
		}
		if err != nil {
			return fmt.Errorf("look at thread %s: %w", entry.Name(), err)
		}
		if err := f(readThread(entry.Name(), string(text))); err != nil {
			return err
		}
	}
	return nil
}

// readThread reads a status (proc_pid_status(5)).
func readThread(id, status string) thread {
	t := thread{id: id, says: map[string]string{}}
	for line := range strings.Lines(status) {
		name, value, _ := strings.Cut(line, ":")
		t.says[name] = strings.TrimSpace(value)
	}
	return t
}

// holds gives an error where a line does not hold these numbers.
func (t thread) holds(name string, want []int) error {
	var got []int
	for field := range strings.FieldsSeq(t.says[name]) {
		n, err := strconv.Atoi(field)
		if err != nil {
			return fmt.Errorf("thread %s has %s %q, which are no numbers", t.id, name, t.says[name])
		}
		got = append(got, n)
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("thread %s has %s %v; %v would be right", t.id, name, got, want)
	}
	return nil
}

// has gives an error where a line is not that set of capabilities.
func (t thread) has(name string, want Set) error {
	got, err := strconv.ParseUint(t.says[name], 16, 64)
	if err != nil || Set(got) != want {
		return fmt.Errorf("thread %s has %s %s; %016x would be right", t.id, name, t.says[name], uint64(want))
	}
	return nil
}

// check holds every thread against what it should be.
func check(a Account, keep Set) error {
	return eachThread(func(t thread) error { return t.check(a, keep) })
}

func (t thread) check(a Account, keep Set) error {
	for _, err := range []error{
		t.holds("Uid", []int{a.UID, a.UID, a.UID, a.UID}),
		t.holds("Gid", []int{a.GID, a.GID, a.GID, a.GID}),
		t.holds("Groups", a.Groups),
		t.has("CapInh", 0),
		t.has("CapPrm", keep),
		t.has("CapEff", keep),
		t.has("CapBnd", keep),
		t.has("CapAmb", 0),
		t.holds("NoNewPrivs", []int{1}),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}
