package boot

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDescribe puts pictures of the network into words.
func TestDescribe(t *testing.T) {
	got := Describe([]Fact{
		{Kind: Link, Index: 1, Name: "lo", Up: true},
		{Kind: Link, Index: 2, Name: "eth0", Up: true},
		{Kind: Link, Index: 3, Name: "wwan0"},
		{Kind: Link, Index: 4, Name: "ppp0", Up: true},
		{Kind: Address, Index: 2, Value: "192.0.2.7/24"},
		{Kind: Address, Index: 2, Value: "2001:db8::7/64"},
		{Kind: Route, Index: 2, Value: "192.0.2.1"},
		{Kind: Route, Index: 4},
		{Kind: Address, Index: 9, Value: "198.51.100.7/24"}, // of what is gone already
	})
	want := []string{
		"eth0 is up, has 192.0.2.7/24 2001:db8::7/64, default route 192.0.2.1", "wwan0 is down", "ppp0 is up, default route direct",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("in words (-want +got):\n%s", diff)
	}
}
