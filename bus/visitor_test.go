package bus

import (
	"errors"
	"testing"

	"muster/access"
	"muster/wire"
)

// TestVisitors fills the places of those who have not said who they are.
func TestVisitors(t *testing.T) {
	policy, err := access.NewPolicy(nil, 990)
	if err != nil {
		t.Fatal(err)
	}
	a := newAuthentication(&Bus{}, policy)
	of := func(uid int) *visitor { return &visitor{peer: access.Peer{Via: wire.ViaTCP, UID: uid}} }
	unknown := func() *visitor { return &visitor{doubt: errors.New("reset")} }
	enter := func(v *visitor, want bool) *visitor {
		t.Helper()
		if err := a.enter(v); err == nil != want {
			t.Fatalf("%s enters: %v", v.who(), err)
		}
		return v
	}
	var waiting []*visitor
	for range maxUnnamed {
		waiting = append(waiting, enter(of(1001), true))
		enter(unknown(), true)
	}
	enter(of(1001), false)
	enter(unknown(), false)
	enter(of(1002), true)
	enter(of(990), true)
	for range 2 * maxUnnamed {
		enter(of(0), true)
	}
	a.nameLocked(waiting[0])
	enter(of(1001), true)
	enter(of(1001), false)
	a.leave(waiting[0])
	enter(of(1001), false)
	a.leave(waiting[1])
	enter(of(1001), true)

	for uid := 2000; a.guests < maxGuests; uid++ {
		a.nameLocked(enter(of(uid), true))
	}
	enter(of(1999), false)
	enter(of(0), true)
}
