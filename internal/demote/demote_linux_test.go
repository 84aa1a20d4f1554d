package demote

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// wants holds an error against a part of its text; "" is none.
func wants(t *testing.T, what string, err error, text string) {
	t.Helper()
	if text == "" && err != nil || text != "" && (err == nil || !strings.Contains(err.Error(), text)) {
		t.Errorf("%s: %v; want %q", what, err, text)
	}
}

// TestFind knows a user of every device, and takes nothing that would be root again.
func TestFind(t *testing.T) {
	for what, c := range map[string]struct{ user, group, fault string }{
		"a user":           {user: "nobody"},
		"with a group":     {user: "nobody", group: "daemon"},
		"root":             {user: "root", fault: `"root" is root; one that may do less`},
		"root's group":     {user: "nobody", group: "root", fault: `"nobody" would be in the group of root`},
		"nobody at all":    {user: "no-such-user", fault: `no user "no-such-user"`},
		"no group at all":  {user: "nobody", group: "no-such-group", fault: `no group "no-such-group"`},
		"a user by number": {user: "65534", fault: `no user "65534"`},
	} {
		a, err := Find(c.user, c.group)
		wants(t, what, err, c.fault)
		if err == nil && (a.UID == 0 || len(a.Groups) == 0) {
			t.Errorf("%s: %+v", what, a)
		}
	}
}

// TestString names what can be kept.
func TestString(t *testing.T) {
	for set, want := range map[Set]string{0: "none", SysTime: "CAP_SYS_TIME", SysTime | SysBoot: "CAP_SYS_BOOT, CAP_SYS_TIME"} {
		if got := set.String(); got != want {
			t.Errorf("%x is %q, want %q", uint64(set), got, want)
		}
	}
}

// TestOwn gives away what is plain, and refuses what could lead elsewhere.
func TestOwn(t *testing.T) {
	self := Account{Name: "self", UID: os.Getuid(), GID: os.Getgid()}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for what, c := range map[string]struct {
		make  func(dir string) error
		fault string
	}{
		"nothing": {make: func(string) error { return nil }},
		"files and folders": {make: func(dir string) error {
			must(os.MkdirAll(filepath.Join(dir, "a/b"), 0o700))
			return os.WriteFile(filepath.Join(dir, "a/b/c"), nil, 0o000)
		}},
		"a link": {make: func(dir string) error { return os.Symlink("/etc/passwd", filepath.Join(dir, "x")) }, fault: "x is a symbolic link; only plain"},
		"a link deeper": {make: func(dir string) error {
			must(os.Mkdir(filepath.Join(dir, "a"), 0o700))
			return os.Symlink("/", filepath.Join(dir, "a/x"))
		}, fault: "a/x is a symbolic link"},
		"two names": {make: func(dir string) error {
			must(os.WriteFile(filepath.Join(dir, "one"), nil, 0o600))
			return os.Link(filepath.Join(dir, "one"), filepath.Join(dir, "two"))
		}, fault: "has 2 names; a file with one would be right"},
		"a well": {make: func(dir string) error { return os.MkdirAll(filepath.Join(dir, strings.Repeat("a/", maxDepth)), 0o700) }, fault: "more than 32 folders deep"},
	} {
		dir := t.TempDir()
		must(c.make(dir))
		wants(t, what, Own(self, dir), c.fault)
	}
	wants(t, "no folder", Own(self, filepath.Join(t.TempDir(), "none")), "no such file")
}

// dropped is the status of a thread that is as it should be, shortened.
const dropped = `Name:	muster
Uid:	999	999	999	999
Gid:	998	998	998	998
Groups:	4 998 
CapInh:	0000000000000000
CapPrm:	0000000002000000
CapEff:	0000000002000000
CapBnd:	0000000002000000
CapAmb:	0000000000000000
NoNewPrivs:	1
`

// TestCheck finds each line that is not as it should be.
func TestCheck(t *testing.T) {
	a := Account{Name: "muster", UID: 999, GID: 998, Groups: []int{4, 998}}
	wants(t, "as it should be", readThread("7", dropped).check(a, SysTime), "")
	for what, c := range map[string]struct{ old, new, fault string }{
		"a way back":      {"999	999	999	999", "999	999	0	999", "thread 7 has Uid [999 999 0 999]; [999 999 999 999] would be right"},
		"files of root":   {"999	999	999	999", "999	999	999	0", "Uid"},
		"root's group":    {"998	998	998	998", "0	998	998	998", "Gid"},
		"another group":   {"4 998 ", "0 4 998 ", "Groups"},
		"no groups":       {"Groups:	4 998 ", "Groups:	", "Groups []"},
		"inheritable":     {"CapInh:	0000000000000000", "CapInh:	0000000000000001", "CapInh"},
		"permitted":       {"CapPrm:	0000000002000000", "CapPrm:	0000000002200000", "CapPrm 0000000002200000; 0000000002000000 would be right"},
		"effective":       {"CapEff:	0000000002000000", "CapEff:	000001ffffffffff", "CapEff"},
		"too few":         {"CapEff:	0000000002000000", "CapEff:	0000000000000000", "CapEff"},
		"bounding":        {"CapBnd:	0000000002000000", "CapBnd:	000001ffffffffff", "CapBnd"},
		"ambient":         {"CapAmb:	0000000000000000", "CapAmb:	0000000002000000", "CapAmb"},
		"new privileges":  {"NoNewPrivs:	1", "NoNewPrivs:	0", "NoNewPrivs"},
		"a line missing":  {"NoNewPrivs:	1\n", "", "NoNewPrivs"},
		"no number":       {"Gid:	998", "Gid:	x", "no numbers"},
		"no capabilities": {"CapBnd:	0000000002000000", "CapBnd:	", "CapBnd"},
	} {
		status := strings.Replace(dropped, c.old, c.new, 1)
		if status == dropped {
			t.Fatalf("%s: nothing is another", what)
		}
		wants(t, what, readThread("7", status).check(a, SysTime), c.fault)
	}
}

// TestThreads reads the real ones: none of this process has been changed.
func TestThreads(t *testing.T) {
	uid := []int{os.Getuid(), os.Geteuid(), os.Geteuid(), os.Geteuid()}
	seen := 0
	wants(t, "threads", eachThread(func(t thread) error { seen++; return t.holds("Uid", uid) }), "")
	if seen == 0 {
		t.Error("no thread was seen")
	}
	a := Account{Name: "muster", UID: os.Getuid() + 1, GID: 998, Groups: []int{998}}
	wants(t, "check", check(a, 0), "has Uid")
}
