package cli

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"muster/wire"
)

// The measures of a text chart.
const (
	barWidth   = 40 // characters of the time axis
	noteWidth  = 80 // of what is written behind it
	mostBlamed = 6  // who are listed above it
)

// writeText draws the chart with characters: a line for each state, and under it one for each notifier that held it.
func (c *chart) writeText(w io.Writer) {
	fmt.Fprintf(w, "boot %s of %s: %s\n", c.Boot, c.Started.Time().Local().Format(time.DateTime), c.verdict())
	fmt.Fprintf(w, "%s\n\n", c.account())
	boot, later, length := c.rows()
	drawText(w, boot, c.Length)
	if len(later) > 0 {
		fmt.Fprint(w, "\nafter the boot, each from its own beginning\n\n")
		drawText(w, later, length)
	}
}

// verdict says how the boot went.
func (c *chart) verdict() string {
	switch {
	case c.Operational > 0:
		return "OPERATIONAL after " + span(c.Operational.Duration())
	case c.Running:
		return "not OPERATIONAL yet after " + span(c.Length.Duration())
	}
	return "never OPERATIONAL, last heard of after " + span(c.Length.Duration())
}

// account says who held the boot for how long.
func (c *chart) account() string {
	if len(c.Blame) == 0 {
		return "held by nobody"
	}
	var names []string
	for i, b := range c.Blame {
		if i == mostBlamed {
			names = append(names, fmt.Sprintf("%d more", len(c.Blame)-i))
			break
		}
		names = append(names, b.Notifier+" "+span(b.Held.Duration()))
	}
	return fmt.Sprintf("held for %s: %s", span(c.Held.Duration()), strings.Join(names, ", "))
}

func drawText(w io.Writer, rows []row, length wire.Micros) {
	width := 0
	for _, r := range rows {
		width = max(width, utf8.RuneCountInString(r.label))
		for _, l := range r.lines {
			width = max(width, utf8.RuneCountInString(l.notifier)+2)
		}
	}
	draw := func(label string, took wire.Micros, bar, note string) {
		text := fmt.Sprintf("%-*s  %7s  %-*s  %s", width, label, span(took.Duration()), barWidth, bar, cut(note))
		fmt.Fprintln(w, strings.TrimRight(text, " "))
	}
	for _, r := range rows {
		draw(r.label, r.end-r.begin, stroke(length, '━', '·', [][2]wire.Micros{{r.begin, r.end}}), r.note)
		for _, l := range r.lines {
			var times [][2]wire.Micros
			for _, s := range l.spells {
				times = append(times, [2]wire.Micros{s.Begin, s.End})
			}
			draw("  "+l.notifier, l.held, stroke(length, '█', '▏', times), l.reason)
		}
	}
}

// cut shortens what is too long for a line.
func cut(text string) string {
	if letters := []rune(text); len(letters) > noteWidth {
		return strings.TrimSpace(string(letters[:noteWidth-1])) + "…"
	}
	return text
}

// stroke draws times on an axis: each as so many of one character, or as another one where it is too short for one.
func stroke(length wire.Micros, full, short rune, times [][2]wire.Micros) string {
	cells := make([]rune, 0, barWidth)
	for _, t := range times {
		begin, end := cell(t[0], length), cell(t[1], length)
		for len(cells) < begin {
			cells = append(cells, ' ')
		}
		switch {
		case end > begin:
			cells = append(cells[:begin], []rune(strings.Repeat(string(full), end-begin))...)
		case begin == len(cells) && begin < barWidth:
			cells = append(cells, short)
		case begin == len(cells) && begin == barWidth && cells[begin-1] == ' ':
			cells[begin-1] = short
		}
	}
	return string(cells)
}

// cell gives the place of a time on an axis, the nearest border between two characters.
func cell(at, length wire.Micros) int {
	if length <= 0 {
		return 0
	}
	return int(math.Round(barWidth * min(1, max(0, float64(at)/float64(length)))))
}
