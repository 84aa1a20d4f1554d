package wire

import (
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// messages lists the type of everything that travels.
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

// TestRoundTrip sends random values of every message through both forms. What a message's Check refuses is
// left to its own test.
func TestRoundTrip(t *testing.T) {
	for _, typ := range messages() {
		t.Run(typ.Name(), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				sent := reflect.New(typ)
				draw(t, sent.Elem(), typ.Name(), 4)
				data, err := Encode(sent.Interface())
				if err != nil {
					t.Fatal(err)
				}
				if err := validate(data); err != nil {
					t.Fatalf("what was encoded is refused: %v", err)
				}
				compare(t, "MessagePack", sent, data)
				text, err := EncodeJSON(sent.Interface())
				if err != nil {
					t.Fatal(err)
				}
				again, err := transcode(text, planOf(typ))
				if err != nil {
					t.Fatalf("%v\n%s", err, text)
				}
				compare(t, "JSON", sent, again)
			})
		})
	}
}

// compare decodes data and holds it against what was sent.
func compare(t *rapid.T, form string, sent reflect.Value, data []byte) {
	t.Helper()
	got := reflect.New(sent.Type().Elem())
	r := reader{data: data, checked: true, room: maxMemory}
	if err := planOf(got.Type()).read(&r, got.Elem()); err != nil {
		t.Fatalf("as %s: %v", form, err)
	}
	if diff := cmp.Diff(sent.Interface(), got.Interface(), cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("as %s (-sent +got):\n%s", form, diff)
	}
}

var (
	anyText = rapid.SampledFrom([]string{"", "x", "grüße \"quoted\"\\\n", "<&>\u2028", "\U0001F680", strings.Repeat("y", 300)})
	anyRaw  = rapid.SampledFrom([]string{"", `null is absent`, `7`, `[1,"x",{"k":true}]`, `{"deep":[[[-1.5]]]}`, `18446744073709551615`})
)

// draw makes a random value of those that a type can carry over the wire.
func draw(t *rapid.T, v reflect.Value, label string, depth int) {
	switch v.Type() {
	case stateType:
		v.SetInt(int64(rapid.SampledFrom(States()).Draw(t, label)))
		return
	case rawType:
		if raw, err := RawFromJSON([]byte(anyRaw.Draw(t, label))); err == nil {
			v.SetBytes(raw)
		}
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if depth > 0 && rapid.Bool().Draw(t, label) {
			v.Set(reflect.New(v.Type().Elem()))
			draw(t, v.Elem(), label, depth-1)
		}
	case reflect.Struct:
		for f, value := range v.Fields() {
			if f.Tag.Get("json") != "-" {
				draw(t, value, f.Name, depth-1)
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), rapid.IntRange(0, 3).Draw(t, label), 3))
		for i := range v.Len() {
			draw(t, v.Index(i), label, depth-1)
		}
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]any{"key": "value", "list": []any{int64(1), "x"}, "none": nil, "": true}))
	case reflect.String:
		v.SetString(anyText.Draw(t, label))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, label))
	case reflect.Int, reflect.Int64:
		v.SetInt(rapid.Int64().Draw(t, label))
	default:
		v.SetUint(rapid.Uint64Max(math.MaxUint64>>(64-v.Type().Bits())).Draw(t, label))
	}
}
