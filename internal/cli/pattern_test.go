package cli

import "testing"

func TestOverlap(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want bool
	}{
		{"sys.state", "sys.state", true},
		{"sys.state", "sys.state.DHCP", false},
		{"sys.state.*", "sys.state.DHCP", true},
		{"sys.state.*", "sys.state", false},
		{"sys.*.*", "sys.state.DHCP", true},
		{"sys.>", "sys.state", true},
		{"sys.>", "sys", false},
		{">", "sys.state", true},
		{"sys.blob.*.0", "sys.blob.auth.*", true},
		{"sys.blob.*.0", "sys.blob.auth.1", false},
		{"sys.api.>", "sys.*.state.get", true},
		{"sys.api.>", "sys.blob.>", false},
		{"sys.network.>", "sys.network.link.up", true},
	} {
		if got, mirrored := overlap(tc.a, tc.b), overlap(tc.b, tc.a); got != tc.want || mirrored != tc.want {
			t.Errorf("%s and %s overlap: %t and %t, want %t", tc.a, tc.b, got, mirrored, tc.want)
		}
	}
}

func TestCheckPattern(t *testing.T) {
	for pattern, want := range map[string]bool{
		"sys.state": true, "sys.*": true, "*.state": true, "sys.>": true, ">": true,
		"": false, "sys.": false, ".sys": false, "sys..state": false, "sys.>.state": false, "sys.st*": false,
		"sys.>>": false, "sys. state": false, "sys.\n": false,
	} {
		if err := checkPattern(pattern); (err == nil) != want {
			t.Errorf("%q: %v", pattern, err)
		}
	}
}
