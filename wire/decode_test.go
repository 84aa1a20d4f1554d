package wire

import (
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"strings"
	"testing"

	"github.com/vmihailenco/msgpack/v5"
)

// hostile are payloads that crash, or grow out of bounds in, decoders that believe what they read.
var hostile = map[string]string{
	"array of 4 Gi":      "ddffffffff",
	"map of 4 Gi":        "dfffffffff",
	"binary of 4 GiB":    "c6ffffffff",
	"text of 4 GiB":      "dbffffffff",
	"nested too deep":    strings.Repeat("91", 100) + "c0",
	"maps too deep":      strings.Repeat("81a161", 100) + "c0",
	"code 0xc1":          "81a161c1",
	"extension":          "81a161d40100",
	"timestamp":          "81a161d6ff00000000",
	"ends early":         "82a16101",
	"something follows":  "80c0",
	"key is no text":     "810102",
	"text is not UTF-8":  "81a161a2ff00",
	"not a map":          "93010203",
	"deep, unknown key":  "81a17a" + strings.Repeat("91", 64) + "c0",
	"list in a list, 4G": "81a161dcffff",
}

func TestHostile(t *testing.T) {
	for name, text := range hostile {
		data, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range []any{&StateWish{}, &Booking{}, &BlobWrite{}, &Registration{}, &Empty{}} {
			if err := Decode(data, v); AsError(err) == nil || AsError(err).Code != CodeMalformed {
				t.Errorf("%s into %T: got %v, want a 400", name, v, err)
			}
		}
	}
}

func TestDecodeErrors(t *testing.T) {
	for _, tt := range []struct {
		json string
		into any
		want string
	}{
		{`{"reason":"x"}`, &StateWish{}, "required key target is missing"},
		{`{"target":null,"reason":"x"}`, &StateWish{}, "required key target is missing"},
		{`{"target":"OPERATIONAL"}`, &StateWish{}, "required key reason is missing"},
		{`{"target":"OPERATIONL","reason":"x"}`, &StateWish{}, `target: "OPERATIONL" is not a state; the nearest is OPERATIONAL`},
		{`{"target":15,"reason":"x"}`, &StateWish{}, "target is 15; the name of a state would be right"},
		{`{"target":"DHCP","reason":"x","wait_us":"1s"}`, &StateWish{}, `wait_us is "1s"; an integer would be right`},
		{`{"target":"DHCP","reason":"x","wait_us":1.5}`, &StateWish{}, "wait_us is 1.5; an integer would be right"},
		{`{"target":"DHCP","reason":"x","wait_us":-1}`, &StateWish{}, "wait_us is -1; 0 to 300000000 would be right"},
		{`{"target":"DHCP","reason":"x","wait_us":18446744073709551615}`, &StateWish{}, "wait_us is 18446744073709551615;"},
		{`{"target":"DHCP","reason":"x","force":1}`, &StateWish{}, "force is 1; true or false would be right"},
		{`{"target":"DHCP","reason":"x","on_limit":"shrug"}`, &StateWish{}, `on_limit is "shrug"; abort or proceed would be right`},
		{`{"states":["DHCP",3]}`, &Registration{}, "states[1] is 3; the name of a state would be right"},
		{`{"states":{}}`, &Registration{}, "states is a map; a list would be right"},
		{`{"states":["UNKNOWN"]}`, &Registration{}, "states names UNKNOWN"},
		{`{"timeout_us":1}`, &Registration{}, "timeout_us is 1; 10000 to 60000000 would be right"},
		{`{"format":"xml"}`, &Registration{}, `format is "xml"; msgpack or json would be right`},
		{`{"answer":"perhaps"}`, &Answer{}, `answer is "perhaps"; accept or defer would be right`},
		{`{"answer":"defer"}`, &Answer{}, "defer came without a reason"},
		{`{"answer":"defer","reason":"x","retry_us":5}`, &Answer{}, "retry_us is 5; 0 or 10000 to"},
		{`{"call":"sys.call.a.b.c.d.e"}`, &Booking{}, "has 5 tokens behind sys.call."},
		{`{"call":"sys.call.*"}`, &Booking{}, `call name "*" has "*" in it`},
		{`{"call":"sys.call."}`, &Booking{}, "call name is empty"},
		{`{"call":"x","done":"sys.api.op.reboot"}`, &Booking{}, "a subject under _INBOX. or sys.done."},
		{`{"call":"x","done":"_INBOX.>"}`, &Booking{}, "without wildcards"},
		{`{"call":"x","id":"a b"}`, &Booking{}, `has " " in it`},
		{`{"data":"%%%"}`, &BlobWrite{}, `data is "%%%"; base64 would be right`},
		{`{"offset":-1}`, &BlobRange{}, "offset is -1; 0 or more would be right"},
		{`{"reason":"x","mode":"explode"}`, &Reboot{}, `mode is "explode"; reboot, halt or poweroff would be right`},
		{`{"at_us":0,"source":"x"}`, &SetClock{}, "at_us is 0"},
		{`{`, &Empty{}, "the JSON ends at byte 1 within a value"},
		{`{"a":x}`, &Empty{}, "not JSON at byte"},
		{`{} x`, &Empty{}, "something follows"},
		{`[1]`, &Empty{}, "the message is a list; a map with string keys would be right"},
		{strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40), &Empty{}, "nested deeper than 32"},
	} {
		if err := DecodeJSON([]byte(tt.json), tt.into); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.80s:\n got %v\nwant %s", tt.json, err, tt.want)
		}
	}
}

// TestRanges shows that no number is cut to another: msgpack alone turns 300 into a uint8 44.
func TestRanges(t *testing.T) {
	type small struct {
		I8  int8   `json:"i8"`
		U8  uint8  `json:"u8"`
		U16 uint16 `json:"u16"`
		I64 int64  `json:"i64"`
		U64 uint64 `json:"u64"`
	}
	for _, bad := range []map[string]any{
		{"i8": 128},
		{"i8": -129},
		{"u8": 256},
		{"u8": -1},
		{"u16": 70000},
		{"i64": uint64(1 << 63)},
		{"u64": -1},
		{"u8": 1.5},
		{"u8": 300.0},
		{"u8": "1"},
		{"u8": true},
	} {
		data, err := msgpack.Marshal(bad)
		if err != nil {
			t.Fatal(err)
		}
		if err := Decode(data, &small{}); err == nil {
			t.Errorf("%v was taken", bad)
		}
	}
	data, err := msgpack.Marshal(map[string]any{
		"i8": -128, "u8": uint64(255), "u16": uint64(65535), "i64": int8(-3), "u64": uint64(1<<64 - 1),
	})
	if err != nil {
		t.Fatal(err)
	}
	var got small
	if err := Decode(data, &got); err != nil {
		t.Fatal(err)
	}
	if want := (small{-128, 255, 65535, -3, 1<<64 - 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestDecodeLeniency(t *testing.T) {
	var wish StateWish
	if err := DecodeJSON([]byte(`{"target":"DHCP","reason":"x","wait_us":null,"colour":{"a":[1]}}`), &wish); err != nil {
		t.Fatalf("unknown key and nil: %v", err)
	}
	if wish.Target != DHCP || wish.Wait != 0 {
		t.Errorf("got %+v", wish)
	}
	if err := Decode(nil, &Registration{}); err != nil {
		t.Errorf("empty payload: %v", err)
	}
	if err := DecodeJSON([]byte(" \n"), &Registration{}); err != nil {
		t.Errorf("blank JSON: %v", err)
	}
	twice, _ := hex.DecodeString("82a6" + hex.EncodeToString([]byte("reason")) + "a178a6" + hex.EncodeToString([]byte("reason")) + "a179")
	if err := Decode(twice, &Abort{}); err == nil || !strings.Contains(err.Error(), `key reason stands twice`) {
		t.Errorf("a key that stands twice: %v", err)
	}
}

// TestNumberForms accepts a number in any form that says the same.
func TestNumberForms(t *testing.T) {
	for _, text := range []string{"81a16ecb4008000000000000", "81a16eca40400000", "81a16e03", "81a16ed30000000000000003"} {
		data, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			N uint8 `json:"n"`
		}
		if err := Decode(data, &got); err != nil || got.N != 3 {
			t.Errorf("%s: %d, %v", text, got.N, err)
		}
	}
	for text, want := range map[string]string{
		`{"n":1e3}`: "1000", `{"n":-0}`: "0", `{"n":2.0}`: "2", `{"n":9007199254740993}`: "9007199254740993",
		`{"n":9007199254740993.0}`: "9.007199254740992e+15; an integer would be right",
		`{"n":1e400}`:              "n is 1e400; a number that 64 bits can hold",
		`{"n":1e18}`:               "n is 1e+18; an integer would be right",
	} {
		var got struct {
			N int64 `json:"n"`
		}
		err := DecodeJSON([]byte(text), &got)
		if err != nil && !strings.Contains(err.Error(), want) || err == nil && strconv.FormatInt(got.N, 10) != want {
			t.Errorf("%s: %d, %v; want %s", text, got.N, err, want)
		}
	}
	var f struct {
		A float32 `json:"a"`
		B float64 `json:"b"`
		C float64 `json:"c"`
	}
	if err := DecodeJSON([]byte(`{"a":1.5,"b":2,"c":18446744073709551615}`), &f); err != nil || f.A != 1.5 || f.B != 2 || f.C != 1<<64 {
		t.Errorf("got %+v, %v", f, err)
	}
	if err := DecodeJSON([]byte(`{"a":"1"}`), &f); err == nil || !strings.Contains(err.Error(), `a is "1"; a number would be right`) {
		t.Error(err)
	}
}

// TestUnknownEmbedded makes sure that the Go name of an embedded struct is no key of the protocol.
func TestUnknownEmbedded(t *testing.T) {
	for _, text := range []string{`{"Stamp":{"seq":7}}`, `{"Stamp":"x"}`} {
		var e BlobEvent
		if err := DecodeJSON([]byte(text), &e); err != nil || e.Seq != 0 {
			t.Errorf("%s: %+v, %v", text, e, err)
		}
	}
}

// TestAmplification holds down what a message can take in memory: on the wire an element has one byte.
func TestAmplification(t *testing.T) {
	many := func(element string, n int) []byte {
		head := []byte{0x81, 0xa6, 'e', 'v', 'e', 'n', 't', 's', 0xdd, 0, 0, 0, 0}
		binary.BigEndian.PutUint32(head[9:], uint32(n))
		return append(head, strings.Repeat(element, n)...)
	}
	for name, data := range map[string][]byte{
		"more values than are allowed": many("\xc0", 100_000),
		"large elements":               many("\x80", 60_000),
	} {
		if err := Decode(data, &History{}); err == nil || !strings.Contains(err.Error(), "more than") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Decode(many("\x80", 1000), &History{}); err != nil {
		t.Errorf("a long history: %v", err)
	}
}

// TestNilLists makes sure that no reader ever sees nil where a list belongs.
func TestNilLists(t *testing.T) {
	text, err := EncodeJSON(StateView{Transition: &Transition{}})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), `"holders":[]`) {
		t.Errorf("got %s", text)
	}
}

func TestRaw(t *testing.T) {
	raw, err := RawFromJSON([]byte(`{"a":[1,-2,3.5,true,null,"x",9007199254740993,18446744073709551615]}`))
	if err != nil {
		t.Fatal(err)
	}
	text, err := raw.MarshalJSON()
	if want := `{"a":[1,-2,3.5,true,null,"x",9007199254740993,18446744073709551615]}`; err != nil || string(text) != want {
		t.Errorf("got %s, %v; want %s", text, err, want)
	}
	var into struct {
		A []any `json:"a"`
	}
	if err := raw.Into(&into); err != nil || len(into.A) != 8 {
		t.Errorf("got %v, %v", into, err)
	}
	for name, text := range hostile {
		data, _ := hex.DecodeString(text)
		if name == "not a map" {
			continue
		}
		if err := Raw(data).Into(&into); err == nil {
			t.Errorf("%s was taken", name)
		}
		if name != "deep, unknown key" {
			_, _ = Raw(data).MarshalJSON() // must return
		}
	}
	if again, err := RawOf(map[string]any{"b": []byte{1, 2}}); err != nil || again.Valid() != nil {
		t.Errorf("RawOf: %v", err)
	} else if text, _ := again.MarshalJSON(); string(text) != `{"b":"AQI="}` {
		t.Errorf("binary as JSON is %s", text)
	}
}
