package daemon

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"muster/wire"
)

// subjectOf gives a subject on which the endpoint is asked.
func subjectOf(e *wire.EndpointInfo) string {
	name := "somebody"
	if strings.HasPrefix(e.Subject, "sys.api.blob.") {
		name = "user-hostile"
	}
	filled := strings.NewReplacer("<name>", name, "<notifier>", name, "<index>", "0", "<n>", "0")
	return filled.Replace(e.Subject)
}

// request sends bytes and gives the answer, which must be there.
func request(t *testing.T, nc *nats.Conn, subject, contentType string, data []byte) *nats.Msg {
	t.Helper()
	m := &nats.Msg{Subject: subject, Data: data}
	if contentType != "" {
		m.Header = nats.Header{"Content-Type": {contentType}}
	}
	answer, err := nc.RequestMsg(m, patience)
	if err != nil {
		t.Fatalf("%s: %.80q is not answered: %v", subject, data, err)
	}
	return answer
}

// refusal reads an answer that must be an error of that code, in the form of the request, with a message on one line.
func refusal(t *testing.T, answer *nats.Msg, code wire.Code, isJSON bool) wire.Error {
	t.Helper()
	read, form := wire.Decode, ""
	if isJSON {
		read, form = wire.DecodeJSON, "application/json"
	}
	var e wire.Error
	if err := read(answer.Data, &e); err != nil {
		t.Errorf("%.200q is no error that can be read: %v", answer.Data, err)
	}
	header := answer.Header.Get("Nats-Service-Error")
	if e.Code != code || answer.Header.Get("Nats-Service-Error-Code") != fmt.Sprint(int(code)) || answer.Header.Get("Content-Type") != form {
		t.Errorf("got %d, %v; want %d: %s", e.Code, answer.Header, code, e.Message)
	}
	if e.Message == "" || wire.OneLine(e.Message) != header || len(e.Message) > 1000 {
		t.Errorf("the message is %q, in the header %q", e.Message, header)
	}
	return e
}

// killers are messages that end a careless decoder, or that no message is.
func killers() map[string][]byte {
	unhex := func(text string) []byte {
		data, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
		if err != nil {
			panic(err)
		}
		return data
	}
	return map[string][]byte{
		"a list of 4 billion":     unhex("dd ff ff ff ff"),
		"a map of 4 billion":      unhex("df ff ff ff ff"),
		"4 billion bytes":         unhex("81 a1 78 c6 ff ff ff ff"),
		"a text of 4 billion":     unhex("81 a1 78 db ff ff ff ff"),
		"an extension":            unhex("81 a1 78 c7 01 05 00"),
		"a time":                  unhex("81 a1 78 d6 ff 00 00 00 00"),
		"a byte never used":       unhex("81 a1 78 c1"),
		"a list":                  unhex("90"),
		"a number":                unhex("2a"),
		"nil":                     unhex("c0"),
		"a number as key":         unhex("81 01 01"),
		"something behind":        unhex("80 80"),
		"an end too early":        unhex("82 a1 78 01"),
		"lists within lists":      bytes.Repeat([]byte{0x91}, 60_000),
		"maps within maps":        bytes.Repeat(unhex("81 a1 78"), 20_000),
		"33 lists within a value": append(append(unhex("81 a1 78"), bytes.Repeat([]byte{0x91}, 33)...), 0xc0),
	}
}

// killersOfJSON are the same for those who speak JSON.
func killersOfJSON() map[string][]byte {
	return map[string][]byte{
		"half":               []byte(`{"x":`),
		"a list":             []byte(`[]`),
		"a number":           []byte(`42`),
		"null":               []byte(`null`),
		"no JSON":            []byte(`hello`),
		"two values":         []byte(`{} {}`),
		"no UTF-8":           []byte("{\"x\":\"\xff\xfe\"}"),
		"a huge number":      []byte(`{"x":1e999}`),
		"many digits":        []byte(`{"x":` + strings.Repeat("9", 60_000) + `}`),
		"lists within lists": bytes.Repeat([]byte("["), 60_000),
		"maps within maps":   bytes.Repeat([]byte(`{"x":`), 12_000),
		"MessagePack":        {0x81, 0xa1, 0x78, 0x01},
	}
}

// TestGarbage sends every endpoint what is no request, and finds each answered and nothing broken.
func TestGarbage(t *testing.T) {
	r := start(t, t.TempDir())
	nc := r.dial()
	await(t, nc, wire.Operational)
	throw(t, r, nc)
	before := runtime.NumGoroutine()
	throw(t, r, nc)
	if v := state(t, nc); v.State != wire.Operational || v.Seq == 0 {
		t.Errorf("after all that: %+v", v)
	}
	eventually(t, "no more goroutines than after the first time", func() bool { return runtime.NumGoroutine() < before+10 })
}

// throw sends every endpoint all that is no request.
func throw(t *testing.T, r *running, nc *nats.Conn) {
	t.Helper()
	for _, e := range wire.Endpoints() {
		subject := subjectOf(e)
		for what, data := range killers() {
			if got := refusal(t, request(t, nc, subject, "", data), wire.CodeMalformed, false); t.Failed() {
				t.Fatalf("%s: %s: %s", subject, what, got.Message)
			}
		}
		for what, data := range killersOfJSON() {
			if got := refusal(t, request(t, nc, subject, "application/json", data), wire.CodeMalformed, true); t.Failed() {
				t.Fatalf("%s: %s: %s", subject, what, got.Message)
			}
		}
		if len(r.log.lines("request failed", "identity="+me(), "subject="+e.Subject, "code=400", "count=10")) != 1 {
			t.Errorf("%s: its log lines are %v", subject, r.log.lines("subject="+e.Subject))
		}
		state(t, nc)
	}
}

// fieldsOf gives the keys of a request that stand in its payload.
func fieldsOf(t reflect.Type) (fields []reflect.StructField) {
	for _, f := range reflect.VisibleFields(t) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "-" && name != "" && f.IsExported() {
			fields = append(fields, f)
		}
	}
	return fields
}

func keyOf(f reflect.StructField) string {
	key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return key
}

// TestWrongKinds gives each key of each request values of kinds, and numbers, that it cannot be, and leaves each required
// one out. The error names the key.
func TestWrongKinds(t *testing.T) {
	r := start(t, t.TempDir())
	nc := r.dial()
	await(t, nc, wire.Operational)
	tried := 0
	for _, e := range wire.Endpoints() {
		for _, f := range fieldsOf(e.Req) {
			for _, wrong := range wrongFor(f.Type) {
				text := fmt.Sprintf(`{%q:%s}`, keyOf(f), wrong)
				got := refusal(t, request(t, nc, subjectOf(e), "application/json", []byte(text)), wire.CodeMalformed, true)
				if !strings.Contains(got.Message, keyOf(f)) {
					t.Errorf("%s %s: %s", e.Subject, text, got.Message)
				}
				twice := fmt.Sprintf(`{%q:null,%q:null}`, keyOf(f), keyOf(f))
				got = refusal(t, request(t, nc, subjectOf(e), "application/json", []byte(twice)), wire.CodeMalformed, true)
				if !strings.Contains(got.Message, "key "+keyOf(f)+" stands twice") {
					t.Errorf("%s %s: %s", e.Subject, twice, got.Message)
				}
				tried++
			}
			if f.Tag.Get("wire") != "required" {
				continue
			}
			got := refusal(t, request(t, nc, subjectOf(e), "application/json", allBut(t, e.Req, f)), wire.CodeMalformed, true)
			if got.Message != "required key "+keyOf(f)+" is missing" || got.Detail["key"] != keyOf(f) {
				t.Errorf("%s without %s: %s %v", e.Subject, keyOf(f), got.Message, got.Detail)
			}
		}
	}
	if tried < 50 {
		t.Errorf("only %d wrong values were tried", tried)
	}
	for _, tt := range []struct{ subject, text, want string }{
		{"sys.api.state.request", `{"target":"DHCP","reason":"x","wait_us":-1}`, "wait_us is -1; 0 to 300000000 would be right"},
		{"sys.api.state.request", `{"target":"DHCP","reason":"x","wait_us":300000001}`, "wait_us is 300000001"},
		{"sys.api.state.request", `{"target":"DHCP","reason":"x","limit_us":-1}`, "limit_us is -1"},
		{"sys.api.state.request", `{"target":"DHCP","reason":"x","on_limit":"maybe"}`, `on_limit is "maybe"; abort or proceed would be right`},
		{"sys.api.state.request", `{"target":"DHCP","reason":"` + strings.Repeat("x", 1025) + `"}`, "reason has 1025 bytes"},
		{"sys.api.state.history", `{"limit":-1}`, "limit is -1"},
		{"sys.api.notifier.register.x", `{"timeout_us":9999}`, "timeout_us is 9999; 10000 to 60000000 would be right"},
		{"sys.api.notifier.register.x", `{"timeout_us":60000001}`, "timeout_us is 60000001"},
		{"sys.api.notifier.register.x", `{"states":["UNKNOWN"]}`, "states names UNKNOWN"},
		{"sys.api.notifier.register.x", `{"format":"xml"}`, `format is "xml"; msgpack or json would be right`},
		{"sys.api.notifier.register.x", `{"about":"` + strings.Repeat("x", 1025) + `"}`, "about has 1025 bytes"},
		{"sys.loop.0", `{"call":"sys.call.x","timeout_us":3600000001}`, "timeout_us is 3600000001"},
		{"sys.loop.0", `{"call":"sys.call.x","deadline_us":-1}`, "deadline_us is -1"},
		{"sys.loop.0", `{"call":"sys.call.x","id":"a.b"}`, `booking name "a.b" has "." in it`},
		{"sys.loop.0", `{"call":"sys.call.x","id":"` + strings.Repeat("x", 65) + `"}`, "has 65 characters"},
		{"sys.api.op.set-clock", `{"at_us":-1,"source":"x"}`, "at_us is -1"},
		{"sys.api.op.reboot", `{"reason":"x","mode":"explode"}`, `mode is "explode"; reboot, halt or poweroff would be right`},
		{"sys.api.blob.get.user-x.0", `{"offset":-1}`, "offset is -1"},
		{"sys.api.blob.get.user-x.0", `{"length":-1}`, "length is -1"},
		{"sys.api.blob.get.user-x.0", `{"offset":1}`, "offset is 1; the blob has 0 bytes"},
	} {
		if got := refusal(t, request(t, nc, tt.subject, "application/json", []byte(tt.text)), wire.CodeMalformed, true); !strings.Contains(got.Message, tt.want) {
			t.Errorf("%s %s: %s", tt.subject, tt.text, got.Message)
		}
	}
	if v := state(t, nc); v.State != wire.Operational {
		t.Errorf("after all that: %+v", v)
	}
}

// wrongFor gives JSON that a key of that type does not take.
func wrongFor(k reflect.Type) []string {
	for k.Kind() == reflect.Pointer {
		k = k.Elem()
	}
	switch {
	case k == reflect.TypeFor[wire.Raw]():
		return nil // which takes anything
	case k == reflect.TypeFor[wire.State]():
		return []string{`15`, `true`, `"NOWHERE"`, `"operational"`, `""`, `[]`}
	case k == reflect.TypeFor[[]byte]():
		return []string{`"no base64!"`, `1`, `[1,2]`, `{}`}
	}
	switch k.Kind() {
	case reflect.Bool:
		return []string{`1`, `"true"`, `[]`}
	case reflect.String:
		return []string{`1`, `true`, `{}`, `["x"]`}
	case reflect.Slice:
		return []string{`"x"`, `{}`, `[{}]`, `[[]]`}
	default:
		return []string{`"1"`, `true`, `1.5`, `99999999999999999999`, `1e300`, `[]`}
	}
}

// allBut gives a request with every required key but one.
func allBut(t *testing.T, req reflect.Type, left reflect.StructField) []byte {
	t.Helper()
	values := map[string]any{}
	for _, f := range fieldsOf(req) {
		if f.Tag.Get("wire") != "required" || f.Name == left.Name {
			continue
		}
		switch {
		case f.Type == reflect.TypeFor[wire.State]():
			values[keyOf(f)] = "OPERATIONAL"
		case f.Type.Kind() == reflect.String:
			values[keyOf(f)] = "x"
		case f.Type.Kind() == reflect.Slice:
			values[keyOf(f)] = ""
		default:
			values[keyOf(f)] = 1
		}
	}
	text, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestSizes goes one byte above what each endpoint takes, and to the most that the server lets through.
func TestSizes(t *testing.T) {
	r := start(t, t.TempDir())
	nc := r.dial()
	await(t, nc, wire.Operational)
	for _, e := range wire.Endpoints() {
		for _, size := range []int{e.MaxBytes() + 1, wire.MaxPayload} {
			got := refusal(t, request(t, nc, subjectOf(e), "", make([]byte, size)), wire.CodeTooLarge, false)
			if want := fmt.Sprintf("the request has %d bytes; %s takes at most %d", size, e.Subject, e.MaxBytes()); got.Message != want {
				t.Errorf("%s: %s", e.Subject, got.Message)
			}
		}
		if e.Big {
			continue
		}
		exactly := append([]byte{0x81, 0xa1, 'x', 0xc5, 0xff, 0xf9}, make([]byte, wire.MaxRequest-7)...)
		if got := request(t, nc, subjectOf(e), "", append(exactly, 0)); got.Header.Get("Nats-Service-Error-Code") == "413" {
			t.Errorf("%s: exactly as much as may be: %v", e.Subject, got.Header)
		}
	}

	blob := func(subject string, bytes int, form func(any) ([]byte, error), content string) *nats.Msg {
		data, err := form(wire.BlobWrite{Data: make([]byte, bytes)})
		if err != nil {
			t.Fatal(err)
		}
		return request(t, nc, subject, content, data)
	}
	for content, form := range map[string]func(any) ([]byte, error){"": wire.Encode, "application/json": wire.EncodeJSON} {
		if got := blob("sys.api.blob.set.user-big.0", wire.MaxBlob, form, content); got.Header.Get("Nats-Service-Error-Code") != "" {
			t.Errorf("1 MiB: %v", got.Header)
		}
		refusal(t, blob("sys.api.blob.set.user-big.0", wire.MaxBlob+1, form, content), wire.CodeTooLarge, content != "")
		refusal(t, blob("sys.api.blob.append.user-big.0", 1, form, content), wire.CodeTooLarge, content != "")
		var part wire.BlobPart
		answer := request(t, nc, "sys.api.blob.get.user-big.0", content, nil)
		read := wire.Decode
		if content != "" {
			read = wire.DecodeJSON
		}
		if err := read(answer.Data, &part); err != nil || len(part.Data) != wire.MaxBlob {
			t.Errorf("the old value has %d bytes, %v", len(part.Data), err)
		}
	}
	if err := nc.Publish("sys.api.state.get", make([]byte, wire.MaxPayload+1)); err == nil {
		t.Error("the client library lets more through than the server")
	}
	state(t, nc)
}

// TestNames puts into subjects what is no name.
func TestNames(t *testing.T) {
	r := start(t, t.TempDir())
	nc := r.dial()
	await(t, nc, wire.Operational)
	long := strings.Repeat("x", wire.MaxName+1)
	for _, e := range wire.Endpoints() {
		if !strings.Contains(e.Subject, "<name>") && !strings.Contains(e.Subject, "<notifier>") {
			continue
		}
		payload := `{"data":""}`
		if !e.Big {
			payload = `{}`
		}
		for name, want := range map[string]string{
			"*": "in it", ">": "in it", "ä": "in it", "a/b": "in it", "a$b": "in it", long: "has 65 characters",
			"a.b.c": "would be right, and none of its parts has a dot in it", "": "would be right",
		} {
			fill := strings.NewReplacer("<name>", name, "<notifier>", name, "<index>", "0")
			subject := strings.TrimSuffix(strings.ReplaceAll(fill.Replace(e.Subject), "..", "."), ".")
			got := refusal(t, request(t, nc, subject, "application/json", []byte(payload)), wire.CodeMalformed, true)
			if !strings.Contains(got.Message, want) {
				t.Errorf("%s: %s", subject, got.Message)
			}
		}
	}
	for subject, code := range map[string]wire.Code{
		"sys.api.blob.get.nonsense.0": 404, "sys.api.blob.get.auth.2": 404, "sys.api.blob.get.auth.-1": 400, "sys.api.blob.get.auth.00": 400,
		"sys.api.blob.get.auth.99999999999": 400, "sys.api.blob.get.auth.x": 400, "sys.loop.1": 404, "sys.loop.-1": 400, "sys.loop.x": 400,
	} {
		refusal(t, request(t, nc, subject, "application/json", []byte(`{"call":"sys.call.x"}`)), code, true)
	}
	for subject, text := range map[string]string{
		"sys.api.state.request":            `{"target":"OPERATIONA","reason":"x"}`,
		"sys.api.notifier.register.nobody": `{"states":["DHCP","DHPC"]}`,
		"sys.loop.0":                       `{"call":"sys.call.x","state":"DHPC"}`,
	} {
		got := refusal(t, request(t, nc, subject, "application/json", []byte(text)), wire.CodeMalformed, true)
		if !strings.Contains(got.Message, "DHCP") && !strings.Contains(got.Message, "OPERATIONAL") {
			t.Errorf("%s: no hint at what would be right: %s", subject, got.Message)
		}
	}
	for _, call := range []string{"sys.call.", "sys.call.*", "sys.call.>", "sys.call.a.b.c.d.e", "sys.call.a..b", "sys.notify.x", "sys.api.state.get", "$JS.API.INFO", "", "a b"} {
		text, err := json.Marshal(map[string]string{"call": call})
		if err != nil {
			t.Fatal(err)
		}
		if answer := request(t, nc, "sys.loop.0", "application/json", text); !strings.HasPrefix(answer.Header.Get("Nats-Service-Error-Code"), "40") {
			t.Errorf("call %q is booked: %s", call, answer.Data)
		}
	}
	for _, done := range []string{"sys.api.state.abort", "sys.notify.x", "sys.done.", "_INBOX.", "_INBOX.*", "sys.done.>", "$KV.SYS_BLOBS.x", "_INBOX.a b"} {
		text, err := json.Marshal(map[string]string{"call": "sys.call.x", "done": done})
		if err != nil {
			t.Fatal(err)
		}
		refusal(t, request(t, nc, "sys.loop.0", "application/json", text), wire.CodeMalformed, true)
	}
	cycle(t, nc)
}
