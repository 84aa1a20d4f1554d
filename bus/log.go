package bus

import (
	"fmt"
	"log/slog"
	"regexp"
)

// serverLog hands the server's log on. What would end the server's process ends its start instead.
type serverLog struct {
	log   *slog.Logger
	fatal chan string
}

func (l *serverLog) say(level slog.Level, format string, args []any) {
	l.log.Log(nil, level, "server", "says", fmt.Sprintf(format, args...)) //nolint:staticcheck // there is no context here
}

// Noticef implements server.Logger; what is worth a notice to the server is detail to the daemon.
func (l *serverLog) Noticef(format string, args ...any) { l.say(slog.LevelDebug, format, args) }

// Warnf implements server.Logger.
func (l *serverLog) Warnf(format string, args ...any) { l.say(slog.LevelWarn, format, args) }

// Errorf implements server.Logger.
func (l *serverLog) Errorf(format string, args ...any) { l.say(slog.LevelError, format, args) }

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
