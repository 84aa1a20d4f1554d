package bus

import (
	"bytes"
	"context"
	"strconv"

	"golang.org/x/time/rate"

	"muster/wire"
)

// flow is what all connections of one identity may send together before they are made to wait: bytes, and commands of
// NATS's protocol. What is sent costs the server and the daemon their time whether it is allowed or not, and a 429 is an
// answer too: without this, one who floods the bus would leave nobody else a turn.
type flow struct {
	commands, bytes *rate.Limiter
}

// newFlow leaves room above what an identity's requests may come to, so that those who hold their bounds do not wait.
func newFlow(b Bounds) *flow {
	return &flow{
		commands: rate.NewLimiter(rate.Limit(2*b.Requests), 4*b.Requests),
		bytes:    rate.NewLimiter(rate.Limit(2*b.Bytes), 2*b.Bytes),
	}
}

// pass waits until what a connection sends may go on; an error when the bus closes. Without a flow there is no bound.
func (f *flow) pass(ctx context.Context, data []byte, commands int) error {
	if f == nil {
		return nil
	}
	if err := waitFor(ctx, f.bytes, len(data)); err != nil {
		return err
	}
	return waitFor(ctx, f.commands, commands)
}

// waitFor takes n tokens, also more than there may be at once.
func waitFor(ctx context.Context, l *rate.Limiter, n int) error {
	for n > 0 {
		part := min(n, l.Burst())
		if err := l.WaitN(ctx, part); err != nil {
			return err
		}
		n -= part
	}
	return nil
}

// commands counts the commands that end in what a connection sends, part after part. Where it and the server read
// something differently, the server closes the connection.
type commands struct {
	line []byte // of a command, as far as it has come
	skip int    // bytes of payload that are to come
}

func (c *commands) count(data []byte) (n int) {
	for len(data) > 0 {
		if c.skip > 0 {
			taken := min(c.skip, len(data))
			c.skip -= taken
			data = data[taken:]
			continue
		}
		head, rest, whole := bytes.Cut(data, []byte{'\n'})
		if room := maxControlLine - len(c.line); room > 0 { // a longer one ends the connection
			c.line = append(c.line, head[:min(len(head), room)]...)
		}
		if !whole {
			return n
		}
		n++
		c.skip, c.line, data = payloadBehind(c.line), c.line[:0], rest
	}
	return n
}

// payloadBehind gives how many bytes follow a command's line that are not commands.
func payloadBehind(line []byte) int {
	const blanks = " \t\r"
	line = bytes.Trim(line, blanks)
	verb, size := bytes.IndexAny(line, blanks), bytes.LastIndexAny(line, blanks)
	if verb == size || !bytes.EqualFold(line[:verb], []byte("PUB")) && !bytes.EqualFold(line[:verb], []byte("HPUB")) {
		return 0
	}
	n, err := strconv.Atoi(string(line[size+1:]))
	if err != nil || n < 0 || n > wire.MaxPayload {
		return 0 // the connection ends
	}
	return n + len("\r\n")
}
