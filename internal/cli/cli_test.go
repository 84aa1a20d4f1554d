package cli

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"muster/client"
)

// complain runs a command line that fails and gives what it said.
func complain(t *testing.T, args ...string) (code int, said string) {
	t.Helper()
	var out, errs strings.Builder
	code = Main(t.Context(), args, Streams{In: strings.NewReader(""), Out: &out, Err: &errs})
	if out.Len() > 0 {
		t.Errorf("%v wrote %q to standard output", args, out.String())
	}
	return code, errs.String()
}

// bus is a server that lets in whom opts say, and no daemon behind it.
func bus(t *testing.T, opts *server.Options) (url string) {
	t.Helper()
	opts.Host, opts.Port, opts.NoSigs = "127.0.0.1", server.RANDOM_PORT, true
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server is not ready")
	}
	return s.ClientURL()
}

// TestRefusedUser is not told that nobody answers.
func TestRefusedUser(t *testing.T) {
	url := bus(t, &server.Options{Username: "somebody", Password: "else"})
	code, err := complain(t, "status", "--server", url)
	if want := "muster: " + client.ErrRefused.Error() + " at " + url + "\nhint: "; code != exitRefused || !strings.HasPrefix(err, want) {
		t.Errorf("code %d, %q; want %d, %q", code, err, exitRefused, want)
	}
}

// TestForbiddenSubject does not wait for an answer that cannot come.
func TestForbiddenSubject(t *testing.T) {
	url := bus(t, &server.Options{
		NoAuthUser: "guest", Users: []*server.User{{Username: "guest", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: []string{"sys.api.>"}},
		}}},
	})
	started := time.Now()
	code, err := complain(t, "call", "sys.notify.backup", "--server", url)
	if want := `muster: the bus does not let this user: Permissions Violation for Publish to "sys.notify.backup" (403)`; code != exitRefused || !strings.HasPrefix(err, want) {
		t.Errorf("code %d, %q; want %d, %q", code, err, exitRefused, want)
	}
	if took := time.Since(started); took > answerWait/2 {
		t.Errorf("it took %v", took)
	}
	if code, err := complain(t, "call", "sys.api.state.get", "--server", url); code != exitNoDaemon || !strings.Contains(err, "nobody answers at sys.api.state.get") {
		t.Errorf("code %d, %q where there is no daemon", code, err)
	}
}

// TestInterruptedInput ends a command that waits for what is never typed.
func TestInterruptedInput(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	endless := reader(func([]byte) (int, error) { cancel(); <-t.Context().Done(); return 0, context.Canceled })
	a := &app{Streams: Streams{In: endless}}
	if _, err := a.read(ctx, "-", 10); err == nil || !strings.Contains(err.Error(), "read standard input: context canceled") {
		t.Errorf("got %v", err)
	}
}

type reader func([]byte) (int, error)

func (r reader) Read(p []byte) (int, error) { return r(p) }
