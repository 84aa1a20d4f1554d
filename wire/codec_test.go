package wire

import (
	"encoding/hex"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
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
		{`{"target":"OPERATIONL","reason":"x"}`, &StateWish{}, `"OPERATIONL" is not a state; the nearest is OPERATIONAL`},
		{`{"target":15,"reason":"x"}`, &StateWish{}, "target is an integer; a text would be right"},
		{`{"target":"DHCP","reason":"x","wait_us":"1s"}`, &StateWish{}, `wait_us is "1s"; an integer would be right`},
		{`{"target":"DHCP","reason":"x","wait_us":1.5}`, &StateWish{}, "wait_us is a number; an integer would be right"},
		{`{"target":"DHCP","reason":"x","wait_us":-1}`, &StateWish{}, "wait_us is -1; 0 to 300000000 would be right"},
		{`{"target":"DHCP","reason":"x","wait_us":18446744073709551615}`, &StateWish{}, "wait_us is 18446744073709551615;"},
		{`{"target":"DHCP","reason":"x","force":1}`, &StateWish{}, "force is an integer; true or false would be right"},
		{`{"target":"DHCP","reason":"x","on_limit":"shrug"}`, &StateWish{}, `on_limit is "shrug"; abort or proceed would be right`},
		{`{"states":["DHCP",3]}`, &Registration{}, "states[] is an integer; a text would be right"},
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
		{`{"data":"%%%"}`, &BlobWrite{}, `"%%%" is not base64`},
		{`{"offset":-1}`, &BlobRange{}, "offset is -1; 0 or more would be right"},
		{`{"reason":"x","mode":"explode"}`, &Reboot{}, `mode is "explode"; reboot, halt or poweroff would be right`},
		{`{"at_us":0,"source":"x"}`, &SetClock{}, "at_us is 0"},
		{`{`, &Empty{}, "not JSON at byte"},
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
	if err := Decode(twice, &Abort{}); err == nil || !strings.Contains(err.Error(), `"reason" stands twice`) {
		t.Errorf("a key that stands twice: %v", err)
	}
}

// messages gives a value of every type that travels.
func messages() []reflect.Type {
	types := []reflect.Type{
		reflect.TypeFor[Question](), reflect.TypeFor[Answer](), reflect.TypeFor[Call](), reflect.TypeFor[Done](), reflect.TypeFor[Error](),
	}
	for _, e := range Endpoints() {
		types = append(types, e.Req, e.Ans)
	}
	for _, e := range Events() {
		if e.Type != nil {
			types = append(types, e.Type)
		}
	}
	return types
}

// TestRoundTrip sends random values of every message through both forms.
func TestRoundTrip(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, typ := range messages() {
		p := planOf(typ)
		for range 50 {
			sent := reflect.New(typ)
			fill(rnd, sent.Elem(), 4)
			data, err := Encode(sent.Interface())
			if err != nil {
				t.Fatalf("%v: %v", typ, err)
			}
			r := reader{data: data}
			if err := p.check(&r, "", maxDepth); err != nil {
				t.Fatalf("%v: what was encoded is refused: %v", typ, err)
			}
			got := reflect.New(typ)
			if err := unmarshal(data, got.Interface()); err != nil {
				t.Fatalf("%v: %v", typ, err)
			}
			compare(t, typ, "MessagePack", sent, got)
			text, err := EncodeJSON(sent.Interface())
			if err != nil {
				t.Fatalf("%v: %v", typ, err)
			}
			data, err = transcode(text, p)
			if err != nil {
				t.Fatalf("%v: %v\n%s", typ, err, text)
			}
			got = reflect.New(typ)
			if err := unmarshal(data, got.Interface()); err != nil {
				t.Fatalf("%v: %v", typ, err)
			}
			compare(t, typ, "JSON", sent, got)
		}
	}
}

func compare(t *testing.T, typ reflect.Type, form string, sent, got reflect.Value) {
	t.Helper()
	if diff := cmp.Diff(sent.Interface(), got.Interface(), cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("%v as %s (-sent +got):\n%s", typ, form, diff)
	}
}

// fill makes a random value of those that a type can carry over the wire.
func fill(rnd *rand.Rand, v reflect.Value, depth int) {
	switch {
	case v.Type() == reflect.TypeFor[State]():
		v.SetInt(rnd.Int64N(int64(len(stateNames))))
		return
	case v.Type() == rawType:
		v.SetBytes([]byte{0x93, 0x01, 0xa1, 0x78, 0x81, 0xa1, 0x6b, 0xc3})
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if depth > 0 && rnd.IntN(2) == 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(rnd, v.Elem(), depth-1)
		}
	case reflect.Struct:
		for field, value := range v.Fields() {
			if field.Tag.Get("json") != "-" {
				fill(rnd, value, depth-1)
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), rnd.IntN(4), 4))
		for i := range v.Len() {
			fill(rnd, v.Index(i), depth-1)
		}
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]any{"key": "value"}))
	case reflect.String:
		v.SetString([]string{"", "x", "grüße", strings.Repeat("y", 300)}[rnd.IntN(4)])
	case reflect.Bool:
		v.SetBool(rnd.IntN(2) == 0)
	case reflect.Int, reflect.Int64:
		v.SetInt(rnd.Int64() >> rnd.IntN(64) * int64(1-2*rnd.IntN(2)))
	default:
		v.SetUint(rnd.Uint64() >> rnd.IntN(64) & (1<<v.Type().Bits() - 1))
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

func FuzzDecode(f *testing.F) {
	for _, text := range hostile {
		data, _ := hex.DecodeString(text)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, v := range []any{&StateWish{}, &Booking{}, &Registration{}, &BlobWrite{}, &Error{}, &History{}} {
			_ = Decode(data, v)
		}
		if validate(data) == nil {
			var v any
			if err := msgpack.Unmarshal(data, &v); err != nil && !strings.Contains(err.Error(), "map key") {
				t.Errorf("validate took what msgpack does not: %v", err)
			}
		}
	})
}

func FuzzDecodeJSON(f *testing.F) {
	f.Add([]byte(`{"target":"DHCP","reason":"x"}`))
	f.Add([]byte(`{"data":{"a":[1,2,{"b":null}]},"call":"x"}`))
	f.Fuzz(func(_ *testing.T, text []byte) {
		for _, v := range []any{&StateWish{}, &Booking{}, &Registration{}, &BlobWrite{}} {
			_ = DecodeJSON(text, v)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	data, err := Encode(StateView{Boot: "17-9f3c2a", Transition: &Transition{ID: "17-9f3c2a.4", Reason: "boot"}})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		var v StateView
		if err := Decode(data, &v); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	v := StateView{Boot: "17-9f3c2a", Transition: &Transition{ID: "17-9f3c2a.4", Reason: "boot"}}
	for b.Loop() {
		if _, err := Encode(&v); err != nil {
			b.Fatal(err)
		}
	}
}
