package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"muster/wire"
)

// print writes a message: as the protocol has it in JSON, or as text tells it.
func (a *app) print(message any, text func(w io.Writer)) error {
	if a.output == "json" {
		line, err := wire.EncodeJSON(message)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.Out, "%s\n", line)
		return err
	}
	var b strings.Builder
	text(&b)
	_, err := io.WriteString(a.Out, b.String())
	return err
}

// span shows a duration as a person reads it: three digits are enough.
func span(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%.3g ms", float64(d)/float64(time.Millisecond))
	case d < time.Minute:
		return fmt.Sprintf("%.3g s", d.Seconds())
	default:
		return strings.TrimSuffix(strings.TrimSuffix(d.Round(time.Second).String(), "0s"), "0m")
	}
}

// holderLine tells who holds, why, and for how long.
func holderLine(h wire.Holder, now wire.MonoMicros) string {
	line := fmt.Sprintf("%s: %s (for %s", h.Notifier, h.Reason, span(max(0, now.Sub(h.Since))))
	if h.Retry > 0 {
		line += ", asked again after " + span(h.Retry.Duration())
	}
	return line + ")"
}
