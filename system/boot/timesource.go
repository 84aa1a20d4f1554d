package boot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"muster/wire"
)

// TimeSource asks servers for the time.
type TimeSource interface {
	// Ask asks one server, "host" or "host:port", and gives its answer if that can be used. It returns soon when ctx is
	// done, and is called by several goroutines at once. A server that wants to be left alone is a [KissError].
	Ask(ctx context.Context, server string) (Reading, error)
}

// Reading is what a server said. It stays true while the wall clock is set.
type Reading struct {
	Server string        // or both of them; the source leaves it empty
	Zero   time.Time     // the time when the clock that never jumps showed zero
	Error  time.Duration // by which it may be wrong because of the way between
	Bound  time.Duration // by which it may be wrong in all, up to the clock that everybody else has it from
}

// at gives what time it is.
func (r Reading) at(now wire.MonoMicros) time.Time { return r.Zero.Add(now.Sub(0)) }

// KissError is a server's wish to be left alone.
type KissError struct{ Code string } // RATE, DENY, RSTR, …

// Error implements error.
func (e *KissError) Error() string {
	if e.Code == "" {
		return "it wants to be left alone"
	}
	return "it wants to be left alone, " + e.Code
}

// kissed reports whether a server wants to be left alone.
func kissed(err error) bool {
	_, kiss := errors.AsType[*KissError](err)
	return kiss
}

const (
	maxServers  = 2
	longestName = 253 + len("[]:65535")
	longestList = 2*longestName + 10
)

// parseServers reads the names of one or two servers, with commas, spaces or line breaks in between.
func parseServers(text string) ([]string, error) {
	if len(text) > longestList {
		return nil, fmt.Errorf("the blob ntp-server has more than %d bytes; one or two servers would be right", longestList)
	}
	names := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) })
	for _, name := range names {
		if len(name) > longestName || strings.Trim(name, serverLetters) != "" {
			return nil, fmt.Errorf("%q in the blob ntp-server is no server; a name or an address would be right", cut(name, 64))
		}
	}
	switch {
	case len(names) == 0:
		return nil, errors.New("no server for the time is set in the blob ntp-server")
	case len(names) > maxServers:
		return nil, fmt.Errorf("the blob ntp-server names %d servers, where one or two would be right,", len(names))
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// serverLetters are what names, addresses and ports are written with.
const serverLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:%[]"

// cut gives the beginning of a text.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// ask asks all servers at once. They have to answer, and to agree; the reading is that of the better one.
func (k *Timekeeper) ask(ctx context.Context, servers []string) (Reading, error) {
	readings := make([]Reading, len(servers))
	errs := make([]error, len(servers))
	var asking sync.WaitGroup
	for i, server := range servers {
		asking.Go(func() {
			readings[i], errs[i] = k.opts.Source.Ask(ctx, server)
			readings[i].Server = server
			if errs[i] != nil {
				errs[i] = &silentError{server, errs[i]}
			}
		})
	}
	asking.Wait()
	if err := both(errs); err != nil {
		return Reading{}, err
	}
	best := slices.MinFunc(readings, func(a, b Reading) int { return cmp.Compare(a.Bound, b.Bound) })
	if len(readings) < 2 {
		return best, nil
	}
	a, b := readings[0], readings[1]
	if d := a.Zero.Sub(b.Zero); d.Abs() > a.Bound+b.Bound+mayDiffer {
		_, now := k.opts.Clock.Now()
		return Reading{}, fmt.Errorf("%s and %s do not agree (%s and %s, a difference of %s)",
			a.Server, b.Server, stamp(a.at(now)), stamp(b.at(now)), roundly(d.Abs()))
	}
	best.Server = a.Server + " and " + b.Server
	return best, nil
}

// silentError says which server gave no time, and why.
type silentError struct {
	server string
	err    error
}

// Error implements error.
func (e *silentError) Error() string {
	return fmt.Sprintf("no time from %s (%s)", e.server, lastWords(e.err.Error()))
}

func (e *silentError) Unwrap() error { return e.err }

// both joins errors on one line.
func both(errs []error) error {
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	switch len(errs) {
	case 0:
		return nil
	case 1:
		return errs[0]
	}
	return fmt.Errorf("%w, %w", errs[0], errs[1])
}
