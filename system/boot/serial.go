package boot

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"muster/wire"
)

// Serial is what a device is called, and what says so.
type Serial struct {
	Value string
	From  string
}

// SerialSource knows what this device is called.
type SerialSource interface {
	// Serial may block, and costs nobody but Run.
	Serial() (Serial, error)
}

// HostSerial asks this machine, in the order that it is given.
type HostSerial struct {
	From       []string // of [SerialKinds]
	Configured string   // for "configured"
	Root       string   // the folder in which /etc, /proc and /sys are; "" is /
}

// SerialKinds are the places where a serial can come from.
var SerialKinds = []string{"configured", "device-tree", "dmi", "machine-id"}

// Serial implements [SerialSource]. It is the first that can be told.
func (h HostSerial) Serial() (Serial, error) {
	var faults []string
	for _, kind := range h.From {
		value, err := h.look(kind)
		if err == nil {
			return Serial{value, kind}, nil
		}
		faults = append(faults, kind+": "+err.Error())
	}
	return Serial{}, errors.New(strings.Join(faults, "; "))
}

// look asks one place.
func (h HostSerial) look(kind string) (string, error) {
	switch kind {
	case "configured":
		return name(h.Configured)
	case "device-tree":
		return h.file("proc/device-tree/serial-number", "sys/firmware/devicetree/base/serial-number")
	case "dmi":
		return h.file("sys/class/dmi/id/product_serial", "sys/class/dmi/id/board_serial", "sys/class/dmi/id/chassis_serial")
	case "machine-id":
		text, err := readBounded(filepath.Join(h.root(), "etc/machine-id"), maxSerialFile)
		if err != nil {
			return "", withoutPath(err)
		}
		return fromMachineID(strings.TrimSpace(string(text)))
	}
	return "", errors.New("it is no place where a serial comes from")
}

func (h HostSerial) root() string {
	if h.Root == "" {
		return "/"
	}
	return h.Root
}

// maxSerialFile is how large a file is at most that says a serial.
const maxSerialFile = 4096

// file reads the first of the files that says something.
func (h HostSerial) file(paths ...string) (string, error) {
	var first error
	for _, path := range paths {
		text, err := readBounded(filepath.Join(h.root(), path), maxSerialFile)
		value := ""
		if err == nil {
			value, err = name(strings.Trim(string(bytes.TrimRight(text, "\x00")), " \t\r\n"))
		}
		if err == nil {
			return value, nil
		}
		if first == nil || errors.Is(first, fs.ErrNotExist) {
			first = err
		}
	}
	return "", withoutPath(first)
}

// withoutPath says what was wrong with a file.
func withoutPath(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("there is none")
	}
	if path, ok := errors.AsType[*os.PathError](err); ok {
		return path.Err
	}
	return err
}

// fillers are what makers leave in place of a serial.
var fillers = []string{
	"none", "default string", "default", "not specified", "not applicable", "n/a", "unknown", "invalid", "oem", "system serial number",
	"to be filled by o.e.m.", "chassis serial number", "base board serial number", "123456789", "1234567890", "0123456789",
}

// name makes a name of a serial: what a name cannot have in it becomes a dash. What is plainly none is an error.
func name(serial string) (string, error) {
	lower := strings.ToLower(serial)
	switch {
	case serial == "":
		return "", errors.New("it is empty")
	case len(serial) > wire.MaxName:
		return "", fmt.Errorf("it has %d characters; at most %d would be right", len(serial), wire.MaxName)
	case strings.Trim(lower, "0 .-_") == "" || strings.Trim(lower, "f -") == "" || strings.Trim(lower, "x-") == "",
		slices.Contains(fillers, lower):
		return "", fmt.Errorf("%q is no serial", serial)
	}
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '-'
	}, serial), nil
}

// application is muster's own, so that what it makes of a machine-id cannot be compared with what others do.
const application = "9070c62f43ca501c8e954a06e304e308"

// fromMachineID derives a serial from a machine-id, which is to be kept confidential: as systemd's
// sd_id128_get_machine_app_specific does, HMAC-SHA256 of the application under the id, cut to a version 4 UUID.
func fromMachineID(text string) (string, error) {
	id, err := hex.DecodeString(text)
	switch {
	case text == "uninitialized":
		return "", errors.New("it is not initialised")
	case err != nil || len(id) != 16 || text != strings.ToLower(text):
		return "", errors.New("it is not 32 hexadecimal digits in lower case")
	case bytes.Count(id, []byte{0}) == len(id):
		return "", errors.New("it is all zeros")
	}
	app, _ := hex.DecodeString(application) // a constant
	mac := hmac.New(sha256.New, id)
	mac.Write(app)
	derived := mac.Sum(nil)[:16]
	derived[6] = derived[6]&0x0f | 0x40
	derived[8] = derived[8]&0x3f | 0x80
	return hex.EncodeToString(derived), nil
}
