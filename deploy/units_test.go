//go:build systemd

package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// highest is the exposure that a unit may have, of 10.
const highest = 2.5

// units are the services; one that is made for each state stands here for one.
var units = map[string]string{"muster.service": "muster.service", "muster-wait@.service": "muster-wait@OPERATIONAL.service"}

// tool runs one of systemd's, and gives what it says.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("these tests make users and folders below one of their own; run them as root")
	}
	if _, err := exec.LookPath(name); err != nil {
		t.Fatalf("%v; as root: apt-get install systemd", err)
	}
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Errorf("%s %s: %v", name, strings.Join(args, " "), err)
	}
	return string(out)
}

// TestUnitsVerify has systemd read the units. The program that they start need not be on this machine.
func TestUnitsVerify(t *testing.T) {
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"verify", "--man=no"}
	for file, unit := range units {
		text, err := os.ReadFile(filepath.Join("systemd", file))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "/usr/bin/muster") {
			t.Errorf("%s does not start /usr/bin/muster", file)
		}
		text = []byte(strings.ReplaceAll(string(text), "/usr/bin/muster", self))
		if err := os.WriteFile(filepath.Join(dir, file), text, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, filepath.Join(dir, unit))
	}
	if said := tool(t, "systemd-analyze", args...); said != "" {
		t.Errorf("systemd says of the units:\n%s", said)
	}
}

// TestUnitsAreConfined has systemd judge what the units may do on the device.
func TestUnitsAreConfined(t *testing.T) {
	overall := regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`)
	for file := range units {
		said := tool(t, "systemd-analyze", "security", "--offline=true", "--no-pager", filepath.Join("systemd", file))
		found := overall.FindStringSubmatch(said)
		if found == nil {
			t.Errorf("%s is not judged:\n%s", file, said)
			continue
		}
		if level, err := strconv.ParseFloat(found[1], 64); err != nil || level > highest {
			t.Errorf("%s has an exposure of %s, above %v:\n%s", file, found[1], highest, said)
		}
	}
}

// TestUserAndFolders makes the user and the folders below a root of the test's own.
func TestUserAndFolders(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	tool(t, "systemd-sysusers", "--root="+root, filepath.Join(here, "systemd/sysusers.d/muster.conf"))
	passwd, err := os.ReadFile(filepath.Join(root, "etc/passwd"))
	if err != nil || !regexp.MustCompile(`(?m)^muster:.*:/var/lib/muster:.*nologin$`).Match(passwd) {
		t.Errorf("the users are %q, %v", passwd, err)
	}
	tool(t, "systemd-tmpfiles", "--root="+root, "--create", filepath.Join(here, "systemd/tmpfiles.d/muster.conf"))
	for folder, mode := range map[string]os.FileMode{"etc/muster": 0o755, "var/lib/muster": 0o700} {
		if f, err := os.Stat(filepath.Join(root, folder)); err != nil || f.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", folder, f, err)
		}
	}
}
