package wire

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"
)

// TestEncodeOnlyReads encodes one value from many goroutines: the race detector sees any write to it.
func TestEncodeOnlyReads(t *testing.T) {
	shared := &History{Events: []Transition{{}, {Holders: []Holder{{Notifier: "a"}}}}}
	want, err := Encode(shared)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if got, err := Encode(shared); err != nil || !bytes.Equal(got, want) {
				t.Errorf("got %x, %v", got, err)
			}
		})
	}
	all.Wait()
	if shared.Boots != nil || shared.Events[0].Holders != nil {
		t.Error("Encode changed what it was given")
	}
}

// TestEncodeForms holds single values against the form that the protocol asks for.
func TestEncodeForms(t *testing.T) {
	type named map[string]int
	var nothing *Holder
	for _, tt := range []struct {
		name string
		v    any
		want string
	}{
		{"nil list", []string(nil), "\x90"},
		{"nil map", named(nil), "\x80"},
		{"nil pointer", nothing, "\xc0"},
		{"nil", nil, "\xc0"},
		{"no binary", []byte(nil), "\xc4\x00"},
		{"no raw", Raw(nil), "\xc0"},
		{"raw", Raw("\x93\x01\x02\x03"), "\x93\x01\x02\x03"},
		{"small", int64(127), "\x7f"},
		{"negative", -32, "\xe0"},
		{"byte", uint64(255), "\xcc\xff"},
		{"largest", uint64(math.MaxUint64), "\xcf\xff\xff\xff\xff\xff\xff\xff\xff"},
		{"fraction", 1.5, "\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00"},
		{"state", Auth1, "\xa5AUTH1"},
		{"sorted", map[string]any{"b": 1, "a": true}, "\x82\xa1a\xc3\xa1b\x01"},
		{"broken text", "a\xffb", "\xa5a\xef\xbf\xbdb"},
		{"optional", Resume{Notifier: "in the subject"}, "\x80"},
	} {
		if got, err := Encode(tt.v); err != nil || string(got) != tt.want {
			t.Errorf("%s: got %q, %v; want %q", tt.name, got, err, tt.want)
		}
	}
}

// TestEncodeRefuses makes sure that what other languages cannot read is never sent.
func TestEncodeRefuses(t *testing.T) {
	for _, v := range []any{
		make(chan int), func() {}, complex(1, 2),
		map[int]string{1: "a"},
		[2]int{},
		map[string]any{"a": map[string]any{"b": make(chan int)}},
		Error{Detail: map[string]any{"list": []any{1, errors.ErrUnsupported, func() {}}}},
	} {
		if _, err := Encode(v); err == nil || AsError(err).Code != CodeInternal {
			t.Errorf("%T: %v", v, err)
		}
		if _, err := EncodeJSON(v); err == nil {
			t.Errorf("%T went as JSON", v)
		}
	}
	if err := Decode(nil, Empty{}); AsError(err).Code != CodeInternal {
		t.Errorf("decode into no pointer: %v", err)
	}
	if err := DecodeJSON([]byte(`{"a":1}`), &struct {
		A complex128 `json:"a"`
	}{}); err == nil || !strings.Contains(err.Error(), "complex128") {
		t.Errorf("decode into what cannot travel: %v", err)
	}
}

// TestDetail shows that whatever stands in an error's detail arrives: a message of ours by its own rules.
func TestDetail(t *testing.T) {
	fault := Errorf(CodeHeld, "held").With("transition", Transition{To: DHCP}).With("n", uint8(3))
	text, err := EncodeJSON(fault)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"to":"DHCP"`, `"holders":[]`, `"n":3`, `"code":423`} {
		if !strings.Contains(string(text), part) {
			t.Errorf("%s is not in %s", part, text)
		}
	}
	var got Error
	if err := DecodeJSON(text, &got); err != nil || !errors.Is(&got, &Error{Code: CodeHeld}) {
		t.Fatalf("got %v, %v", got, err)
	}
	raw, err := RawOf(got.Detail["transition"])
	if err != nil {
		t.Fatal(err)
	}
	var held Transition
	if err := raw.Into(&held); err != nil || held.To != DHCP {
		t.Errorf("got %+v, %v", held, err)
	}
}

// TestJSONText holds the texts that JSON has to escape.
func TestJSONText(t *testing.T) {
	text := "a\"b\\c\n\u2028<ü>"
	got, err := EncodeJSON(Abort{Reason: text})
	if err != nil || strings.Contains(string(got), "\n") {
		t.Fatalf("got %s, %v", got, err)
	}
	var back Abort
	if err := DecodeJSON(got, &back); err != nil || back.Reason != text {
		t.Errorf("got %q, %v", back.Reason, err)
	}
	for _, f := range []float64{math.NaN(), math.Inf(-1)} {
		if got, err := EncodeJSON(map[string]any{"f": f}); err != nil || string(got) != `{"f":null}` {
			t.Errorf("%v: %s, %v", f, got, err)
		}
	}
}
