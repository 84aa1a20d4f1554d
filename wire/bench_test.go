package wire

import "testing"

// view is an answer of state.get while a transition is held: the message that is sent most.
func view() StateView {
	return StateView{
		State: DHCP, Number: int(DHCP), Goal: Operational, Boot: "17-9f3c2a", DeviceBoot: "0f8b6f0e-8d0c-4c57-9e0b-3c1f3a0f9d11",
		Seq: 12, At: 1_795_521_600_000_000, Mono: 4_211_000, Since: 3_950_000, Store: StoreHealth{OK: true},
		Transition: &Transition{
			Stamp: Stamp{Boot: "17-9f3c2a", At: 1_795_521_600_000_000, Mono: 4_211_000, Seq: 12},
			Kind:  KindHeld, ID: "17-9f3c2a.4", From: DHCP, To: CPDPreTime, Goal: Operational, Round: 1, Reason: "boot", Started: 4_100_000,
			Holders: []Holder{{Notifier: "network", Reason: "no route yet", Since: 4_101_000}},
		},
		Protocol: Protocol, Version: "0.1.0",
	}
}

func BenchmarkEncode(b *testing.B) {
	v := view()
	for b.Loop() {
		if _, err := Encode(&v); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	data, err := Encode(view())
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		var v StateView
		if err := Decode(data, &v); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkValidate(b *testing.B) {
	data, err := Encode(view())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := validate(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeJSON(b *testing.B) {
	v := view()
	for b.Loop() {
		if _, err := EncodeJSON(&v); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeJSON(b *testing.B) {
	text, err := EncodeJSON(view())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		var v StateView
		if err := DecodeJSON(text, &v); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadPath(b *testing.B) {
	for b.Loop() {
		var key BlobKey
		if err := BlobSize.ReadPath("sys.api.blob.size.user-x.3", &key); err != nil {
			b.Fatal(err)
		}
	}
}
