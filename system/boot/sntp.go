package boot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/beevik/ntp"

	"muster/system"
)

// SNTP asks servers over UDP, by version 4 of the protocol. An answer has to carry the random number of its question,
// and nobody vouches for it otherwise: two servers that agree are better than one.
type SNTP struct {
	Clock system.Clock // of which only the one is read that never jumps

	dial func(ctx context.Context, network, address string) (net.Conn, error) // nil: this machine's network
}

const (
	askBudget  = 5 * time.Second         // for one answer, the look-up of the name included
	worstBound = 1500 * time.Millisecond // by which a server may be wrong
)

// beforeZero stands for the zero of the clock that never jumps, since the library counts in times.
var beforeZero = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// Ask implements [TimeSource].
func (s SNTP) Ask(ctx context.Context, server string) (Reading, error) {
	ctx, cancel := context.WithTimeout(ctx, askBudget)
	defer cancel()
	dial := s.dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	r, err := ntp.QueryWithOptions(server, ntp.QueryOptions{
		Version: 4, Timeout: askBudget, Extensions: []ntp.Extension{sane{}},
		GetSystemTime: func() time.Time {
			_, now := s.Clock.Now()
			return beforeZero.Add(now.Sub(0))
		},
		Dialer: func(_, remote string) (net.Conn, error) {
			conn, err := dial(ctx, "udp", remote)
			if err == nil {
				context.AfterFunc(ctx, func() { _ = conn.Close() })
			}
			return conn, err
		},
	})
	switch {
	case ctx.Err() != nil:
		return Reading{}, fmt.Errorf("no answer within %v", askBudget)
	case err != nil:
		return Reading{}, plain(err, askBudget)
	}
	if err := usable(r); err != nil {
		return Reading{}, err
	}
	return Reading{Zero: beforeZero.Add(r.ClockOffset), Error: r.RTT / 2, Bound: r.RootDistance}, nil
}

// sane looks at an answer before the library does, which panics at an exponent of -128.
type sane struct{}

// ProcessQuery implements [ntp.Extension]. It leaves the question as it is.
func (sane) ProcessQuery(*bytes.Buffer) error { return nil }

// ProcessResponse implements [ntp.Extension].
func (sane) ProcessResponse(answer []byte) error {
	const size, poll, precision = 48, 2, 3 // and where the two exponents of a second are
	if len(answer) < size {
		return fmt.Errorf("it answers %d bytes; %d would be right", len(answer), size)
	}
	for _, at := range []int{poll, precision} {
		if e := int8(answer[at]); e < -63 || e > 63 {
			return fmt.Errorf("byte %d of its answer is 2^%d s, which cannot be", at, e)
		}
	}
	return nil
}

// usable gives nil for an answer by which a clock may be set.
func usable(r *ntp.Response) error {
	switch {
	case r.Stratum == 0:
		return &KissError{Code: r.KissCode}
	case r.Version > 4: // the library would judge it by other rules
		return fmt.Errorf("it answers in version %d of the protocol, asked in 4", r.Version)
	}
	if err := r.Validate(); err != nil {
		return err
	}
	if r.RootDistance > worstBound {
		return fmt.Errorf("it may be wrong by %s; %v would be right at the most", roundly(r.RootDistance), worstBound)
	}
	return nil
}

// plain says an error of the network without the addresses that it happened between.
func plain(err error, budget time.Duration) error {
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return fmt.Errorf("no answer within %v", budget)
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return fmt.Errorf("%s: %s", dns.Name, dns.Err)
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err
	}
	return err
}
