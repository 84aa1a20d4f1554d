package cli

import (
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

	"muster/wire"
)

// The measures of the picture, in its own units.
const (
	pictureWidth = 1000.0
	margin       = 24.0
	labelSize    = 12.0
	smallSize    = 11.0
	axisHeight   = 24.0 // the numbers above the rows
	laneHeight   = 20.0
	barHeight    = 13.0
	chipHeight   = 22.0
	gap          = 8.0  // between a bar and what is written beside it
	tickSpace    = 70.0 // between two numbers on the axis, at least
	boldness     = 1.12 // how much wider bold letters are
)

// The colours of a time in which nobody held, of one in which somebody did, and of the end of a step that was not made.
const (
	freeTint = "#93a0b5"
	heldTint = "#dde3ec"
	failTint = "#c0261a"
)

// hues are the colours of notifiers, in the order of how long they held. White can be read on all of them.
var hues = []string{
	"#3565a8", "#bf5530", "#3f8657", "#84579f", "#987015", "#1f7f8c", "#b34a75", "#65707f", "#7b5c3d", "#5b7a1c",
}

// svg draws the picture. The error is the writer's first.
type svg struct {
	w     io.Writer
	err   error
	y     float64
	hue   map[string]string
	left  float64 // where the time axis begins
	right float64
}

// writeSVG draws the chart as a picture that stands for itself: states as rows, over an axis of time, what was held in
// the colour of its notifier. Each bar tells more when it is pointed at.
func (c *chart) writeSVG(w io.Writer) error {
	boot, later, length := c.rows()
	p := &svg{w: w, hue: map[string]string{}, right: pictureWidth - margin}
	for _, b := range c.Blame {
		p.hue[b.Notifier] = hues[len(p.hue)%len(hues)]
	}
	p.left = margin
	for _, r := range slices.Concat(boot, later) {
		p.left = max(p.left, margin+textWidth(r.label, labelSize))
		for _, l := range r.lines {
			if p.hue[l.notifier] == "" {
				p.hue[l.notifier] = hues[len(p.hue)%len(hues)]
			}
		}
	}
	p.left += 68 // for how long it took
	chips := p.chips(c.Blame)
	height := 84 + chipHeight*float64(len(chips)) + panelHeight(boot) + margin
	if len(later) > 0 {
		height += 34 + panelHeight(later)
	}
	p.head(c, height)
	p.legend(chips)
	p.panel(boot, c.Length)
	if len(later) > 0 {
		p.y += 26
		p.text(margin, p.y, "t", "start", "After the boot, each from its own beginning")
		p.y += 8
		p.panel(later, length)
	}
	p.put("</svg>\n")
	return p.err
}

func (p *svg) put(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

// text writes a line of text; class is one of those in the style.
func (p *svg) text(x, y float64, class, anchor, text string) {
	p.put(`<text x="%.1f" y="%.1f" class="%s" text-anchor="%s">%s</text>`+"\n", x, y, class, anchor, escape(text))
}

func (p *svg) head(c *chart, height float64) {
	title := fmt.Sprintf("Boot %s: %s", c.Boot, c.verdict())
	p.put(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" role="img" aria-label="%s">`+"\n",
		pictureWidth, height, pictureWidth, height, escape(title))
	p.put(`<style>text{font-family:"DejaVu Sans",Verdana,sans-serif;fill:#1c2430}.h{font-size:17px;font-weight:600}.t{font-size:13px;font-weight:600}` +
		`.n{font-size:12px}.s{font-size:11px;fill:#56617a}.i{font-size:11px;fill:#fff}</style>` + "\n")
	p.put(`<rect width="%.0f" height="%.0f" fill="#ffffff"/>`+"\n", pictureWidth, height)
	p.text(margin, 36, "h", "start", shorten(title, 17*boldness, p.right-margin))
	held := "held by nobody"
	if len(c.Blame) > 0 {
		held = fmt.Sprintf("held for %s of it", span(c.Held.Duration()))
	}
	p.text(margin, 58, "s", "start", fmt.Sprintf("%s UTC, %s", c.Started.Time().Format(time.DateTime), held))
	p.y = 70
}

// chip is a notifier in the legend.
type chip struct {
	x          float64
	text, tint string
}

// chips lays the legend out in lines.
func (p *svg) chips(blame []blamed) (lines [][]chip) {
	x := p.right + 1
	for _, b := range blame {
		text := b.Notifier + " " + span(b.Held.Duration())
		width := 18 + textWidth(text, smallSize) + 18
		if x+width > p.right {
			x = margin
			lines = append(lines, nil)
		}
		last := len(lines) - 1
		lines[last] = append(lines[last], chip{x, text, p.hue[b.Notifier]})
		x += width
	}
	return lines
}

func (p *svg) legend(lines [][]chip) {
	for _, line := range lines {
		for _, c := range line {
			p.put(`<rect x="%.1f" y="%.1f" width="12" height="12" rx="3" fill="%s"/>`+"\n", c.x, p.y, c.tint)
			p.text(c.x+18, p.y+10, "s", "start", c.text)
		}
		p.y += chipHeight
	}
	p.y += 14
}

// panelHeight is what rows take, with their axis.
func panelHeight(rows []row) float64 {
	height := axisHeight
	for _, r := range rows {
		height += rowHeight(r)
	}
	return height
}

func rowHeight(r row) float64 { return laneHeight * float64(max(1, len(r.lines))) }

// panel draws rows over an axis of their own.
func (p *svg) panel(rows []row, length wire.Micros) {
	length = max(length, 1)
	top := p.y + axisHeight
	bottom := p.y + panelHeight(rows)
	for at := range ticks(length, int((p.right-p.left)/tickSpace)) {
		x := p.at(at, length)
		p.put(`<path d="M%.1f %.1f V%.1f" stroke="#e3e7ee" stroke-width="1"/>`+"\n", x, top-4, bottom)
		p.text(x, top-9, "s", "middle", tickLabel(at))
	}
	y := top
	for _, r := range rows {
		p.row(r, y, length)
		y += rowHeight(r)
	}
	p.y = bottom
}

// at gives the place of a time on the axis.
func (p *svg) at(t, length wire.Micros) float64 {
	return p.left + (p.right-p.left)*min(1, max(0, float64(t)/float64(length)))
}

func (p *svg) row(r row, y float64, length wire.Micros) {
	took := span((r.end - r.begin).Duration())
	p.text(margin, y+14, "n", "start", r.label)
	p.text(p.left-12, y+14, "s", "end", took)
	begin, end := p.at(r.begin, length), p.at(r.end, length)
	tip, tint := fmt.Sprintf("%s took %s", r.label, took), freeTint
	if len(r.lines) > 0 {
		tint = heldTint
	}
	if r.note != "" {
		tip += "\n" + r.note
	}
	height := rowHeight(r) - laneHeight + barHeight
	p.bar(begin, y, end-begin, height, tint, tip)
	for i, l := range r.lines {
		p.line(l, y+laneHeight*float64(i), length)
	}
	if r.fails {
		p.bar(end, y-2, 3, height+4, failTint, tip)
	}
	p.beside(r, y, length)
}

// line draws what one notifier held.
func (p *svg) line(l line, y float64, length wire.Micros) {
	for _, s := range l.spells {
		begin, end := p.at(s.Begin, length), p.at(s.End, length)
		tip := fmt.Sprintf("%s held for %s\n%s", s.Notifier, span((s.End - s.Begin).Duration()), clean(s.Reason))
		if s.How != "" {
			tip += "\n" + s.How
		}
		p.bar(begin, y, end-begin, barHeight, p.hue[l.notifier], tip)
	}
}

// bar draws a time, so that it can still be seen when it is short.
func (p *svg) bar(x, y, width, height float64, tint, tip string) {
	width = max(width, 2)
	x = min(x, p.right-width)
	p.put(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="%.1f" fill="%s"><title>%s</title></rect>`+"\n",
		x, y+3, width, height, min(3, width/2), tint, escape(tip))
}

// beside writes who held and why, and in the last line why the step was not made.
func (p *svg) beside(r row, y float64, length wire.Micros) {
	begin, end := p.at(r.begin, length), p.at(r.end, length)
	for i, l := range r.lines {
		text := l.reason
		if i == len(r.lines)-1 && r.note != "" {
			text += "; " + r.note
		}
		first, last := p.at(l.spells[0].Begin, length), p.at(l.spells[len(l.spells)-1].End, length)
		p.label(l.notifier, text, y+laneHeight*float64(i), first, last, begin, end)
	}
	if len(r.lines) == 0 && r.note != "" {
		p.label("", r.note, y, begin, end, begin, end)
	}
}

// label writes a text for the bar between begin and end, in a row that is drawn from first to last: behind it, on it or
// before it, wherever there is room, and else shortened where there is the most.
func (p *svg) label(name, text string, y, begin, end, first, last float64) {
	bold := 0.0
	if name != "" {
		bold = textWidth(name+": ", smallSize*boldness)
	}
	width := bold + textWidth(text, smallSize)
	behind, on, before := p.right-last-gap, end-begin-2*gap, first-p.left-gap
	x, room, class, anchor, tint := last+gap, behind, "s", "start", p.hue[name]
	switch {
	case width <= behind || behind >= max(on, before):
	case width <= on || on >= before:
		x, room, class, tint = begin+gap, on, "i", "#ffffff"
	default:
		x, room, anchor = first-gap, before, "end"
	}
	if name != "" {
		name = fmt.Sprintf(`<tspan font-weight="600" fill="%s">%s:</tspan> `, tint, escape(name))
	}
	p.put(`<text x="%.1f" y="%.1f" class="%s" text-anchor="%s">%s%s</text>`+"\n",
		x, y+13.5, class, anchor, name, escape(shorten(text, smallSize, room-bold)))
}

// ticks gives round times on an axis, from 0 on, about so many.
func ticks(length wire.Micros, about int) func(func(wire.Micros) bool) {
	step := roundStep(float64(length) / float64(max(1, about)))
	return func(yield func(wire.Micros) bool) {
		for at := wire.Micros(0); at <= length && yield(at); at += step {
		}
	}
}

// roundStep gives the next round time: 1, 2 or 5 of a power of ten, and from 10 s to a day what clocks have.
func roundStep(atLeast float64) wire.Micros {
	const second, day = 1e6, 86400e6
	if atLeast > 10*second {
		for _, s := range []float64{15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200} {
			if atLeast <= s*second {
				return wire.Micros(s * second)
			}
		}
		return wire.Micros(day * roundNumber(atLeast/day))
	}
	return wire.Micros(roundNumber(atLeast))
}

// roundNumber gives the next number that is 1, 2 or 5 of a power of ten, from 1 on.
func roundNumber(atLeast float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(max(1, atLeast))))
	for _, digit := range []float64{1, 2, 5} {
		if digit*power >= atLeast {
			return digit * power
		}
	}
	return 10 * power
}

// tickLabel writes a time on the axis.
func tickLabel(at wire.Micros) string {
	if at == 0 {
		return "0"
	}
	return span(at.Duration())
}

// textWidth estimates the width of a text, rather too wide: fonts differ.
func textWidth(text string, size float64) float64 {
	sum := 0.0
	for _, c := range text {
		switch {
		case c >= 0x1100: // most of what is wide
			sum += 1.05
		case unicode.IsUpper(c) || c == '_' || c == 'm' || c == 'w' || c == '@' || c == '%' || c == '…':
			sum += 0.76
		case strings.ContainsRune(" .,:;'!|iljft()[]", c):
			sum += 0.4
		default:
			sum += 0.64
		}
	}
	return sum * size
}

// shorten cuts a text so that it takes no more than the width.
func shorten(text string, size, width float64) string {
	if textWidth(text, size) <= width {
		return text
	}
	letters := []rune(text)
	for len(letters) > 0 && textWidth(string(letters)+"…", size) > width {
		letters = letters[:len(letters)-1]
	}
	if len(letters) == 0 {
		return ""
	}
	return strings.TrimSpace(string(letters)) + "…"
}

// escape makes a text fit for XML.
func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // into memory
	return b.String()
}
