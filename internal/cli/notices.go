package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// notices tells a person what happens to the connection while a command runs: "muster: bus lost: EOF".
type notices struct{ w io.Writer }

func (a *app) notices() *slog.Logger { return slog.New(notices{a.Err}) }

// Enabled implements slog.Handler.
func (notices) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

// Handle implements slog.Handler.
func (n notices) Handle(_ context.Context, r slog.Record) error {
	line := "muster: " + r.Message
	var values []string
	r.Attrs(func(attr slog.Attr) bool {
		if value := attr.Value.String(); value != "" {
			values = append(values, clean(value))
		}
		return true
	})
	if len(values) > 0 {
		line += ": " + strings.Join(values, ", ")
	}
	_, err := fmt.Fprintln(n.w, line)
	return err
}

// WithAttrs implements slog.Handler; nothing here has attributes of its own.
func (n notices) WithAttrs([]slog.Attr) slog.Handler { return n }

// WithGroup implements slog.Handler.
func (n notices) WithGroup(string) slog.Handler { return n }
