package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vmihailenco/msgpack/v5"
)

// seeds gives the fuzzers what is known to be nasty, and one good message of each type.
func seeds(f *testing.F, add func(data []byte)) {
	for _, text := range hostile {
		data, err := hex.DecodeString(text)
		if err != nil {
			f.Fatal(err)
		}
		add(data)
	}
	for _, typ := range messages() {
		data, err := Encode(reflect.New(typ).Interface())
		if err != nil {
			f.Fatal(err)
		}
		add(data)
	}
}

// FuzzDecode reads arbitrary bytes as every message. What is taken is a message: encoded and read again it is the same.
func FuzzDecode(f *testing.F) {
	seeds(f, func(data []byte) { f.Add(data) })
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, typ := range messages() {
			v := reflect.New(typ)
			if err := Decode(data, v.Interface()); err != nil {
				if AsError(err).Code != CodeMalformed {
					t.Fatalf("%v: %v; every fault of a message is a 400", typ, err)
				}
				continue
			}
			again, err := Encode(v.Interface())
			if err != nil {
				t.Fatalf("%v: %v", typ, err)
			}
			w := reflect.New(typ)
			if err := Decode(again, w.Interface()); err != nil {
				t.Fatalf("%v, read, written and read again: %v", typ, err)
			}
			if diff := cmp.Diff(v.Interface(), w.Interface(), cmpopts.EquateEmpty(), cmpopts.EquateNaNs()); diff != "" {
				t.Fatalf("%v changed on its way:\n%s", typ, diff)
			}
		}
	})
}

// FuzzValidate holds the structure check against the library, which must be able to read whatever passes it, and
// against the reader that makes values of it.
func FuzzValidate(f *testing.F) {
	seeds(f, func(data []byte) { f.Add(data) })
	f.Fuzz(func(t *testing.T, data []byte) {
		if validate(data) != nil {
			return
		}
		var theirs any
		if err := msgpack.Unmarshal(data, &theirs); err != nil {
			t.Fatalf("validate took what the library does not: %v", err)
		}
		if text, err := Raw(data).MarshalJSON(); err != nil || !json.Valid(text) {
			t.Fatalf("as JSON: %q, %v", text, err)
		}
		var ours any
		if err := Raw(data).Into(&ours); err != nil {
			if AsError(err).Code != CodeMalformed {
				t.Fatal(err)
			}
			return // a key that stands twice, or too much memory
		}
		if again, err := RawOf(ours); err != nil || again.Valid() != nil {
			t.Fatalf("encoded again: %v, %v", err, again.Valid())
		}
	})
}

// FuzzDecodeJSON reads arbitrary text as JSON; what passes is JSON to others too.
func FuzzDecodeJSON(f *testing.F) {
	for _, text := range []string{
		`{"target":"DHCP","reason":"x"}`, `{"data":{"a":[1,2,{"b":null}]},"call":"x"}`, `{"data":"AQI="}`, `[1e3,-0,1e400]`,
		`{"a":1,"a":2}`, `"\ud800"`, `{} {}`, `[[[[`, `9007199254740993`, `{"states":["DHCP"`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, typ := range messages() {
			if err := DecodeJSON(text, reflect.New(typ).Interface()); err == nil && len(bytes.TrimSpace(text)) > 0 && !json.Valid(text) {
				t.Fatalf("%v took %q", typ, text)
			}
		}
		raw, err := RawFromJSON(text)
		if err == nil && raw.Valid() != nil {
			t.Fatalf("%q became %x: %v", text, []byte(raw), raw.Valid())
		}
	})
}
