package seal

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// TestKeyIsNeverShown prints a key in every way that there is.
func TestKeyIsNeverShown(t *testing.T) {
	k := newKey()
	type outer struct {
		Key   Key
		inner Key
		List  []Key
	}
	var shown bytes.Buffer
	for _, v := range []any{k, &k, outer{k, k, []Key{k}}, &outer{k, k, []Key{k}}, map[string]Key{"k": k}, []any{k}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%b", "%o", "%c", "%T", "%p"} {
			fmt.Fprintf(&shown, verb+"\n", v)
		}
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		shown.Write(text)
		slog.New(slog.NewTextHandler(&shown, nil)).Info("shown", "key", v)
		slog.New(slog.NewJSONHandler(&shown, nil)).Info("shown", "key", v)
	}
	_, err := parseKey([]byte(k.Reveal() + "x"))
	fmt.Fprint(&shown, err)
	for name, secret := range map[string]string{
		"bytes": string(k.bytes()[:4]), "hex": k.Reveal()[:8], "HEX": strings.ToUpper(k.Reveal()[:8]),
		"numbers": fmt.Sprintf("%d %d %d", k.bytes()[0], k.bytes()[1], k.bytes()[2]),
		"go":      fmt.Sprintf("%#x, %#x, %#x", k.bytes()[0], k.bytes()[1], k.bytes()[2]),
	} {
		if strings.Contains(shown.String(), secret) {
			t.Errorf("the key is shown as %s", name)
		}
	}
	if count := strings.Count(shown.String(), redacted); count < 50 {
		t.Errorf("only %d times is it said that there is a key", count)
	}
}

func TestParseKey(t *testing.T) {
	raw := []byte("0123456789abcdefghijklmnopqrstuv")
	digits := []byte(hex.EncodeToString(raw))
	for _, text := range [][]byte{raw, digits, append(digits, '\n'), bytes.ToUpper(digits), append(digits, "\r\n"...)} {
		if k, err := parseKey(text); err != nil || !bytes.Equal(k.bytes(), raw) {
			t.Errorf("%q is %v, %v", text, k, err)
		}
	}
	for want, text := range map[string]string{
		"it has 0 bytes; 32 random ones, or 64": "",
		"it has 33 bytes":                       string(raw) + "\n",
		"it has 4096 bytes":                     strings.Repeat("a", 4096),
		"not all of its 64 characters are":      strings.Repeat("g", 64),
		"it is the same byte 32 times":          strings.Repeat("00", 32),
	} {
		if k, err := parseKey([]byte(text)); err == nil || k.Present() || !strings.Contains(err.Error(), want) {
			t.Errorf("%.70q: %v, want %q", text, err, want)
		}
	}
}

func TestDerive(t *testing.T) {
	k := newKey()
	one, again, other := k.derive("one"), k.derive("one"), k.derive("other")
	if one.Reveal() != again.Reveal() || one.Reveal() == other.Reveal() || one.Reveal() == k.Reveal() {
		t.Errorf("derived keys are not one for each purpose")
	}
	// The derivation is what is on disks: it must never change.
	fixed, err := parseKey([]byte(strings.Repeat("01", 31) + "02"))
	if err != nil {
		t.Fatal(err)
	}
	if got := fixed.derive(forStore).Reveal(); got != "fcd31bbec1f77666b7fa279cad0d214fc7c174320201becbd4d25dd5bb08e6fb" {
		t.Errorf("the store's key is derived as %s", got)
	}
	one.Wipe()
	if again.Reveal() == one.Reveal() || one.Reveal() != strings.Repeat("0", 64) {
		t.Error("a wiped key is still there")
	}
	if (Key{}).derive("one").Present() || (Key{}).Reveal() != "" {
		t.Error("something was derived from no key")
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add([]byte("0123456789abcdefghijklmnopqrstuv"))
	f.Add([]byte(strings.Repeat("0f", 32) + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if k, err := parseKey(text); (err == nil) != k.Present() {
			t.Errorf("%q: %v and %v", text, k, err)
		}
	})
}
