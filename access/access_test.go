package access

import (
	"errors"
	"net"
	"slices"
	"testing"

	"muster/wire"
)

func TestIdentify(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:9": true, "127.8.8.8:9": true, "[::1]:9": true, "[::ffff:127.0.0.1]:9": true,
		"10.0.0.1:9": false, "0.0.0.0:9": false, "[fe80::1]:9": false,
	} {
		tcp, err := net.ResolveTCPAddr("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if _, got := Identify(tcp); got != want {
			t.Errorf("%s is let in: %v, want %v", address, got, want)
		}
	}
	if _, ok := Identify(&net.UnixAddr{Name: "x"}); ok {
		t.Error("an address that is not TCP is let in")
	}
}

func TestRights(t *testing.T) {
	observer := Identity{Name: "observer", Rights: []string{"state:read"}}
	if observer.Check("state:read") != nil || local.Check("anything:at:all") != nil {
		t.Error("a right that is there is denied")
	}
	err := observer.Check("op:reboot")
	if !errors.Is(err, &wire.Error{Code: wire.CodeForbidden}) || wire.AsError(err).Detail["right"] != "op:reboot" {
		t.Errorf("got %v", err)
	}
	denied := local.Permissions().Publish.Deny
	for _, subject := range []string{"sys.state", "sys.state.*", "sys.transition", "sys.blob.*.*", "sys.trace.*"} {
		if !slices.Contains(denied, subject) {
			t.Errorf("%s can be forged", subject)
		}
	}
	if slices.Contains(denied, "sys.network.*") {
		t.Error("an event of the participants' own is denied")
	}
}
