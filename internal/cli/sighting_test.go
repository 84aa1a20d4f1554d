package cli

import (
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"muster/wire"
)

func TestSightings(t *testing.T) {
	stamp := wire.Stamp{Boot: "17-9f3c2a", At: 1_795_000_000_123_456, Mono: 1, Seq: 3}
	encoded := func(v any) string {
		data, err := wire.Encode(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	const when = "11:06:40.123456  "
	for _, tc := range []struct{ name, subject, data, want string }{
		{
			"a state", "sys.state.DHCP", encoded(wire.StateEvent{Stamp: stamp, State: wire.DHCP, From: wire.IfaceColdplug, Reason: "boot"}),
			when + "state        DHCP, from IFACE_COLDPLUG: boot",
		},
		{
			"a hold", "sys.transition", encoded(wire.Transition{
				Stamp: stamp, Kind: wire.KindHeld, From: wire.IfaceColdplug, To: wire.DHCP,
				Holders: []wire.Holder{{Notifier: "net", Reason: "no\n\x1b[2Jaddress"}, {Notifier: "modem", Reason: "no SIM"}},
			}),
			when + "held         IFACE_COLDPLUG → DHCP  by net: no �[2Jaddress; by modem: no SIM",
		},
		{
			"a lost notifier", "sys.transition", encoded(wire.Transition{
				Stamp: stamp, Kind: wire.KindCommitted, From: wire.IfaceColdplug, To: wire.DHCP, Lost: []string{"net"}, Round: 12, Flapping: true,
			}),
			when + "committed    IFACE_COLDPLUG → DHCP  net is lost; round 12, flapping",
		},
		{
			"a blob", "sys.blob.auth.1", encoded(wire.BlobEvent{Stamp: stamp, Revision: 4, Size: 2048}),
			when + "blob         auth.1 has 2 KiB, revision 4",
		},
		{
			"a failed call", "sys.loop-error", encoded(wire.LoopError{Stamp: stamp, ID: "x", Loop: 1, Call: "sys.call.log", Identity: "uid-7", Error: "no answer"}),
			when + "loop-error   sys.call.log of uid-7 on loop 1: no answer",
		},
		{
			"a request", "sys.trace.request", encoded(wire.Trace{Stamp: stamp, Kind: "request", Subject: "sys.api.op.reboot", Identity: "uid-7", Conn: 12, Payload: wire.Raw(encoded(map[string]any{"reason": "<&>"}))}),
			when + `request      sys.api.op.reboot                 from uid-7 #12  {"reason":"<&>"}`,
		},
		{
			"a request without content", "sys.trace.request", encoded(wire.Trace{Stamp: stamp, Kind: "request", Subject: "sys.api.state.get", Identity: "uid-7", Conn: 12}),
			when + `request      sys.api.state.get                 from uid-7 #12`,
		},
		{
			"a refusal", "sys.trace.answer", encoded(wire.Trace{Stamp: stamp, Kind: "answer", Subject: "sys.api.op.reboot", Identity: "uid-7", Conn: 12, Code: 403, Took: 1500}),
			when + "answer       sys.api.op.reboot                 to uid-7 #12  refused with 403 after 1.5 ms",
		},
		{
			"a question", "sys.trace.question", encoded(wire.Trace{Stamp: stamp, Kind: "question", Subject: "sys.notify.net", Identity: "uid-7"}),
			when + "question     sys.notify.net                    to uid-7",
		},
		{
			"a participant's event", "sys.network.link", encoded(map[string]any{"at_us": stamp.At, "mono_us": 1, "up": true, "if": "eth0"}),
			when + `network      link  {"if":"eth0","up":true}`,
		},
		{"an event in JSON", "sys.user.3.door.front", `{"at_us":1795000000123456,"open":"yes"}`, when + `user         3.door.front  {"open":"yes"}`},
		{"a number that is text", "sys.metric.load", "7", "metric       load  7"},
		{"a text", "sys.metric.load", "it\tis\x1b high", `metric       load  "it\tis\x1b high"`},
		{"a letter", "sys.metric.load", "x", `metric       load  "x"`},
		{"bytes", "sys.metric.load", "\xc1\xff\x00", "metric       load  c1 ff 00"},
		{"nothing", "sys.interaction.button", "", "interaction  button"},
		{"a state that is none", "sys.state", "\x80", "state        {}"},
		{"a trace that is none", "sys.trace.request", "\xc0", "trace        request  null"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var line strings.Builder
			s := sight(&nats.Msg{Subject: tc.subject, Data: []byte(tc.data)})
			s.write(&line)
			got, oneLine := strings.CutSuffix(line.String(), "\n")
			if !strings.HasPrefix(tc.want, when) && len(got) > len(when) {
				got = got[len(when):] // when it came
			}
			if got != tc.want || !oneLine {
				t.Errorf("shown as\n%q, want\n%q", got, tc.want)
			}
			if _, err := wire.EncodeJSON(s); err != nil {
				t.Errorf("not told in JSON: %v", err)
			}
		})
	}
}

func TestSources(t *testing.T) {
	for _, tc := range []struct {
		asked string
		want  string // the sources, one after the other
	}{
		{"sys.transition", "sys.transition"},
		{"sys.state.OPERATIONAL", "sys.state.*"},
		{"sys.network.link.eth0", "sys.network.>"},
		{"sys.api.blob.>", "sys.trace.*"},
		{"sys.notify.backup", "sys.trace.*"},
		{"sys.*.*.0", "sys.blob.*.* sys.trace.* sys.network.> sys.interaction.> sys.metric.> sys.user.*.>"},
		{"sys.state", "sys.state"},
		{"*", ""},
		{"fleet.>", ""},
	} {
		if got := strings.Join(sources([]string{tc.asked}), " "); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.asked, got, tc.want)
		}
	}
	if got, want := sources([]string{"sys.>"}), events(); !slices.Equal(got, want) {
		t.Errorf("sys.>: %q, want %q", got, want)
	}
	if got, want := sources(nil), events()[1:]; !slices.Equal(got, want) { // all but sys.state
		t.Errorf("nothing asked: %q, want %q", got, want)
	}
}
