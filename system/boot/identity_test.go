package boot

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// plate is a serial that is played.
type plate struct {
	mu     sync.Mutex
	serial Serial
	fault  error
}

// Serial implements SerialSource.
func (p *plate) Serial() (Serial, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.serial, p.fault
}

func (p *plate) mend(serial Serial) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.serial, p.fault = serial, nil
}

func TestIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, store := &plate{fault: errors.New("dmi: there is none")}, &safe{}
		r := newRig(t)
		r.boot(NewIdentity(IdentityOptions{Source: p, Blobs: store, Gate: r, Teller: r, Patience: time.Minute}))
		r.wantStands("POLICY_VALID; identity: nothing says the serial of the device: dmi: there is none since 0s")
		r.after(4 * time.Second)
		r.wantStands("POLICY_VALID; identity: nothing says the serial of the device: dmi: there is none 3 times since 3s")
		p.mend(Serial{"SN-1", "dmi"})
		r.after(10 * time.Second)
		r.wantStands("OPERATIONAL")
		r.wantTold("sys.network.identity:  > SN-1, ")
		if got := store.has("device-serial"); got != "SN-1" {
			t.Errorf("device-serial is %q", got)
		}
	})
}

// TestIdentityKept keeps the serial that the device has, and tells when its source says another one.
func TestIdentityKept(t *testing.T) {
	for name, c := range map[string]struct {
		plate *plate
		told  []string
	}{
		"same":  {&plate{serial: Serial{"SN-1", "dmi"}}, nil},
		"none":  {&plate{fault: errors.New("there is none")}, nil},
		"other": {&plate{serial: Serial{"SN-2", "dmi"}}, []string{"sys.network.identity: SN-1 > SN-1, dmi says SN-2; the device stays SN-1"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &safe{}
				store.put(t, "device-serial", "SN-1\n")
				r := newRig(t)
				r.boot(NewIdentity(IdentityOptions{Source: c.plate, Blobs: store, Gate: r, Teller: r}))
				r.wantStands("OPERATIONAL")
				r.wantTold(c.told...)
				if got := store.has("device-serial"); got != "SN-1\n" {
					t.Errorf("device-serial is %q", got)
				}
			})
		})
	}
}

// TestIdentityFaults goes on without a serial when the patience is over, and takes one that comes later.
func TestIdentityFaults(t *testing.T) {
	for want, c := range map[string]struct {
		plate *plate
		store *safe
	}{
		"nothing says the serial of the device: x":                   {&plate{fault: errors.New("x")}, &safe{}},
		"the blob device-serial.0 cannot be written: the disk burns": {&plate{serial: Serial{"SN-1", "dmi"}}, &safe{fault: errors.New("the disk burns")}},
		"the blob device-serial.0 cannot be read: it is damaged":     {&plate{serial: Serial{"SN-1", "dmi"}}, &safe{deaf: errors.New("it is damaged")}},
	} {
		t.Run(want, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.boot(NewIdentity(IdentityOptions{Source: c.plate, Blobs: c.store, Gate: r, Teller: r, Patience: time.Minute}))
				r.wantStands("POLICY_VALID; identity: " + want + " since 0s")
				r.after(time.Minute + time.Second)
				r.wantStands("OPERATIONAL")
				if told := r.heard(); len(told) != 1 || !strings.Contains(told[0], "the device goes on without a serial (degraded)") {
					t.Errorf("told: %v", told)
				}
			})
		})
	}
}

// TestHostSerial reads the places of a machine that is played.
func TestHostSerial(t *testing.T) {
	for name, c := range map[string]struct {
		from  string
		files map[string]string
		want  Serial
		fault string
	}{
		"configured":         {"configured", nil, Serial{"SN-9", "configured"}, ""},
		"device tree":        {"device-tree dmi", map[string]string{"proc/device-tree/serial-number": "10000000abcd\x00"}, Serial{"10000000abcd", "device-tree"}, ""},
		"second device tree": {"device-tree", map[string]string{"sys/firmware/devicetree/base/serial-number": "A1\x00"}, Serial{"A1", "device-tree"}, ""},
		"dmi":                {"device-tree dmi", map[string]string{"sys/class/dmi/id/product_serial": "VM 12/3\n"}, Serial{"VM-12-3", "dmi"}, ""},
		"filler": {
			"dmi",
			map[string]string{"sys/class/dmi/id/product_serial": "To Be Filled By O.E.M.\n", "sys/class/dmi/id/board_serial": "B7\n"},
			Serial{"B7", "dmi"},
			"",
		},
		"fillers": {
			"dmi",
			map[string]string{"sys/class/dmi/id/product_serial": "0000000\n", "sys/class/dmi/id/board_serial": "Default string"},
			Serial{},
			`dmi: "0000000" is no serial`,
		},
		// The value is what "systemd-id128 machine-id --app-specific=" gives for that machine-id.
		"machine-id": {
			"device-tree machine-id",
			map[string]string{"etc/machine-id": "0123456789abcdef0123456789abcdef\n"},
			Serial{"1aee6969ef274f4b85eac5bad86ce404", "machine-id"},
			"",
		},
		"first boot": {"machine-id", map[string]string{"etc/machine-id": "uninitialized\n"}, Serial{}, "machine-id: it is not initialised"},
		"zeros":      {"machine-id", map[string]string{"etc/machine-id": strings.Repeat("0", 32)}, Serial{}, "machine-id: it is all zeros"},
		"no id":      {"machine-id", map[string]string{"etc/machine-id": "0123"}, Serial{}, "machine-id: it is not 32 hexadecimal digits in lower case"},
		"nothing":    {"device-tree dmi machine-id", nil, Serial{}, "device-tree: there is none; dmi: there is none; machine-id: there is none"},
		"long":       {"dmi", map[string]string{"sys/class/dmi/id/product_serial": strings.Repeat("x", 70) + "y"}, Serial{}, "dmi: it has 71 characters; at most 64 would be right"},
		"endless":    {"dmi", map[string]string{"sys/class/dmi/id/product_serial": strings.Repeat("x", 5000)}, Serial{}, "dmi: "},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for file, text := range c.files {
				path := filepath.Join(root, file)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			got, err := HostSerial{From: strings.Fields(c.from), Configured: "SN-9", Root: root}.Serial()
			if got != c.want || c.fault == "" && err != nil || c.fault != "" && (err == nil || !strings.HasPrefix(err.Error(), c.fault)) {
				t.Errorf("%v, %v; want %v, %s", got, err, c.want, c.fault)
			}
		})
	}
}
