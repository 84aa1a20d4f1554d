package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf16"

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

// writeJSON lays JSON out for people. What a terminal could take for an order is written as JSON's escapes.
func writeJSON(w io.Writer, text []byte) {
	var b bytes.Buffer
	if json.Indent(&b, bytes.TrimSpace(text), "", "  ") != nil {
		b.Write(text)
	}
	for _, c := range b.String() {
		if unicode.IsPrint(c) || c == '\n' {
			fmt.Fprintf(w, "%c", c)
			continue
		}
		for _, unit := range utf16.Encode([]rune{c}) {
			fmt.Fprintf(w, "\\u%04x", unit)
		}
	}
	fmt.Fprintln(w)
}

// table lays rows out in columns under their heads.
func table(w io.Writer, heads []string, rows [][]string) {
	var b strings.Builder
	columns := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{heads}, rows...) {
		fmt.Fprintln(columns, strings.Join(row, "\t"))
	}
	_ = columns.Flush() // into memory
	for line := range strings.Lines(b.String()) {
		fmt.Fprintln(w, strings.TrimRight(line, " \n"))
	}
}

// span shows a duration as a person reads it: three digits are enough.
func span(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%d µs", d.Microseconds())
	case d < 999500*time.Microsecond: // what rounds to 1 s is one
		return fmt.Sprintf("%.3g ms", float64(d)/float64(time.Millisecond))
	case d < 59950*time.Millisecond:
		return fmt.Sprintf("%.3g s", d.Seconds())
	}
	text := d.Round(time.Second).String()
	for _, nothing := range []string{"m0s", "h0m"} {
		if whole, ok := strings.CutSuffix(text, nothing); ok {
			text = whole + nothing[:1]
		}
	}
	return text
}

// size shows a number of bytes as a person reads it.
func size(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.3g KiB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.3g MiB", float64(n)/(1<<20))
	default:
		return fmt.Sprintf("%.3g GiB", float64(n)/(1<<30))
	}
}

// clean takes out of a text that somebody else wrote what would upset a terminal or break a line.
func clean(text string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case unicode.IsPrint(c):
			return c
		case unicode.IsSpace(c):
			return ' '
		}
		return unicode.ReplacementChar
	}, text)
}

// clock shows the time of day, as the people see it who are where the command runs.
func clock(at wire.UnixMicros) string { return at.Time().Local().Format("15:04:05.000000") }

// holderLine tells who holds, why, and for how long.
func holderLine(h wire.Holder, now wire.MonoMicros) string {
	line := fmt.Sprintf("%s: %s (for %s", h.Notifier, clean(h.Reason), span(max(0, now.Sub(h.Since))))
	if h.Retry > 0 {
		line += ", asked again after " + span(h.Retry.Duration())
	}
	return line + ")"
}
