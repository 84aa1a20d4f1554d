package wire

import "testing"

func TestFormat(t *testing.T) {
	for kind, want := range map[string]Format{
		"": FormatMsgpack, "application/json": FormatJSON, "Application/JSON; charset=utf-8": FormatJSON, "text/plain": FormatMsgpack,
	} {
		if got := FormatOf(kind); got != want {
			t.Errorf("%q is %s, want %s", kind, got, want)
		}
	}
	for _, f := range []Format{"", FormatMsgpack, FormatJSON} {
		data, err := f.Encode(Answer{Answer: Accept})
		if err != nil {
			t.Fatal(err)
		}
		var a, again Answer
		if err := f.Decode(data, &a); err != nil || a.Answer != Accept {
			t.Errorf("%q: %+v, %v", f, a, err)
		}
		raw, err := f.Raw(data)
		if err != nil || raw.Into(&again) != nil || again != a {
			t.Errorf("%q: %+v, %v", f, again, err)
		}
		if raw, err := f.Raw(nil); err != nil || len(raw) != 0 {
			t.Errorf("%q: %v, %v of nothing", f, raw, err)
		}
		if _, err := f.Raw([]byte{'{', 0xc1}); err == nil {
			t.Errorf("%q takes what is no value", f)
		}
		if FormatOf(f.ContentType()) == FormatJSON != (f == FormatJSON) {
			t.Errorf("%q says %q", f, f.ContentType())
		}
	}
}
