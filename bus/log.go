package bus

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
)

// serverLog hands the server's log on. What would end the server's process ends its start instead. Lines of one kind
// are counted: a client that sends garbage, or is slow, or tries what it may not, again and again, has them told for
// each power of ten.
type serverLog struct {
	log        *slog.Logger
	fatal      chan string
	storeFails func(reason error)
	lines      tally[string] // by format
}

func (l *serverLog) say(level slog.Level, format string, args []any) {
	// What the client says of itself is no format, whatever it holds.
	who := client.FindString(format)
	format = format[len(who):]
	if level < slog.LevelWarn && strings.HasPrefix(format, "Slow Consumer") {
		level = slog.LevelWarn // that a connection is closed is worth more than the server thinks
	}
	if !l.log.Enabled(context.Background(), level) {
		return
	}
	if n, worthLine := l.lines.add(format); worthLine {
		l.log.Log(context.Background(), level, "server", "says", who+fmt.Sprintf(format, args...), "count", n)
	}
}

// client is how the server begins a line about one client: address, number, and, once known, its library and user.
var client = regexp.MustCompile(`^\S+ - cid:\d+( - "([^"\\]|\\.)*")* - `)

// Noticef implements server.Logger; what is worth a notice to the server is detail to the daemon.
func (l *serverLog) Noticef(format string, args ...any) { l.say(slog.LevelDebug, format, args) }

// Warnf implements server.Logger.
func (l *serverLog) Warnf(format string, args ...any) {
	l.listen(format, args)
	l.say(slog.LevelWarn, format, args)
}

// Errorf implements server.Logger.
func (l *serverLog) Errorf(format string, args ...any) {
	l.listen(format, args)
	l.say(slog.LevelError, format, args)
}

// listen learns from a line that a stream, or the whole store, takes no writes any more. The server tells it nowhere
// else, least of all to those who write.
func (l *serverLog) listen(format string, args []any) {
	if !strings.HasSuffix(format, "critical write error: %v") && !strings.Contains(format, "isabling JetStream") &&
		!strings.Contains(format, "will be DISABLED") {
		return
	}
	for _, arg := range args {
		if err, ok := arg.(error); ok {
			l.storeFails(err)
			return
		}
	}
	l.storeFails(fmt.Errorf(format, args...))
}

// Debugf implements server.Logger.
func (l *serverLog) Debugf(format string, args ...any) { l.say(slog.LevelDebug, format, args) }

// Tracef implements server.Logger.
func (l *serverLog) Tracef(string, ...any) {}

// Fatalf implements server.Logger.
func (l *serverLog) Fatalf(format string, args ...any) {
	select {
	case l.fatal <- fmt.Sprintf(format, args...):
	default:
	}
}

var semver = regexp.MustCompile(`^v?(\d+\.\d+\.\d+(?:[-+][0-9A-Za-z.+-]+)?)$`)

// semantic gives a version as the service API wants it.
func semantic(version string) string {
	if m := semver.FindStringSubmatch(version); m != nil {
		return m[1]
	}
	return "0.0.0"
}
