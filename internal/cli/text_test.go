package cli

import (
	"strings"
	"testing"
)

// TestIsText holds what is shown as it is against what could upset a terminal.
func TestIsText(t *testing.T) {
	for text, want := range map[string]bool{
		"": true, "plain\ttext\n": true, "Ümläut, 北京\n": true, "two\r\nlines\r\n": true,
		"over\rwritten": false, "\x1b[31mred": false, "nul\x00": false, "\xff\xfe": false, "\u009b31m": false, "\u202eevil": false,
	} {
		if got := isText([]byte(text)); got != want {
			t.Errorf("isText(%q) is %t", text, got)
		}
	}
}

// TestWriteJSON shows JSON of a stranger's, whose texts may hold anything.
func TestWriteJSON(t *testing.T) {
	var b strings.Builder
	writeJSON(&b, []byte("{\"a\":[1,\"\u009b31m\U000e0001ü\"]}"))
	want := "{\n  \"a\": [\n    1,\n    \"\\u009b31m\\udb40\\udc01ü\"\n  ]\n}\n"
	if b.String() != want {
		t.Errorf("got %q, want %q", b.String(), want)
	}
}

// TestWriteHex counts from where the bytes begin in the whole.
func TestWriteHex(t *testing.T) {
	var b strings.Builder
	writeHex(&b, make([]byte, 17), 4096)
	if text := b.String(); !strings.HasPrefix(text, "00001000  00 ") || !strings.Contains(text, "\n00001010  00 ") {
		t.Errorf("got\n%s", text)
	}
}

// TestCallsMeant tries the ways in which people name a call.
func TestCallsMeant(t *testing.T) {
	for call, want := range map[string]string{
		"sys.call.a.b": "sys.call.a.b", "a.b": "sys.call.a.b", "rotate": "rotate sys.call.rotate",
	} {
		if got := strings.Join(callsMeant(call), " "); got != want {
			t.Errorf("%s means %q, want %q", call, got, want)
		}
	}
}

// TestWhoAnswers wants a way on from every subject that nobody is at.
func TestWhoAnswers(t *testing.T) {
	for subject, want := range map[string]string{
		"sys.api.state.get":           "muster doctor",
		"sys.api.blob.get.auth.7":     "muster doctor",
		"sys.api.blob.gt.auth.7":      "sys.api.blob.get.auth.7",
		"sys.api.blob.get.auth":       "sys.api.blob.get.auth.<index>",
		"sys.api.notifier.registr.me": "sys.api.notifier.register.me",
		"sys.notify.backup":           "muster notifiers",
		"sys.call.backup":             "no process serves it",
		"state.get":                   "sys.",
	} {
		if got := whoAnswers(subject); !strings.Contains(got, want) {
			t.Errorf("%s: %q, want it to name %q", subject, got, want)
		}
	}
}
