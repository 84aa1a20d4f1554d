//go:build linux

package daemon

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// mountsAllowed marks a process of this test binary that may mount as it likes: nobody else sees it.
const mountsAllowed = "MUSTER_TEST_MOUNTS"

// withMounts has f run where file systems can be mounted: it runs this test again in a process with a mount namespace of
// its own, and gives its verdict. f is called in that process only.
func withMounts(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	if os.Getenv(mountsAllowed) == t.Name() {
		if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
			t.Fatalf("keep mounts private: %v", err)
		}
		f(t)
		return
	}
	attributes := &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := runAgain(t, attributes)
	if _, ran := errors.AsType[*exec.ExitError](err); err != nil && !ran && os.Getuid() == 0 {
		out, err = runAgain(t, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS})
	}
	if _, ran := errors.AsType[*exec.ExitError](err); err != nil && !ran {
		t.Fatalf("this test needs a mount namespace, which was refused: %v. Allow user namespaces (sysctl user.max_user_namespaces, "+
			"kernel.unprivileged_userns_clone) or run it as root with CAP_SYS_ADMIN", err)
	}
	if err != nil || !strings.Contains(out, "--- PASS: "+t.Name()) {
		t.Fatalf("%v\n%s", err, out)
	}
}

func runAgain(t *testing.T, attributes *syscall.SysProcAttr) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), mountsAllowed+"="+t.Name())
	cmd.SysProcAttr = attributes
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// mountDisk gives an empty folder on a disk of that many bytes.
func mountDisk(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("muster-test", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Fatalf("mount a small disk: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill leaves no room on a disk, and gives the file that takes it.
func fill(t *testing.T, dir string) string {
	t.Helper()
	path := dir + "/ballast"
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("fill the disk: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}
