package cli

import (
	"slices"
	"strings"

	"muster/wire"
)

// row is a step as it is drawn: with a line for each notifier that held it.
type row struct {
	label string
	note  string // what became of it, if it was not made
	fails bool   // it was given up or cut short
	begin wire.Micros
	end   wire.Micros
	lines []line
}

// line is what one notifier held of a step.
type line struct {
	notifier string
	reason   string // the reasons, one after the other
	held     wire.Micros
	spells   []spell
}

// rows gives the steps as they are drawn: those of the boot, and those after it, which have nothing to do with each
// other and begin at 0 each. The longest of these is the length of their axis.
func (c *chart) rows() (boot, later []row, length wire.Micros) {
	for i := range c.Steps {
		boot = append(boot, c.row(&c.Steps[i], 0))
	}
	for i := range c.Later {
		r := c.row(&c.Later[i], c.Later[i].Begin)
		later, length = append(later, r), max(length, r.end)
	}
	return boot, later, length
}

// row gives a step as it is drawn, so much earlier.
func (c *chart) row(s *step, shift wire.Micros) row {
	r := row{label: s.To.String(), begin: s.Begin - shift, end: s.End - shift}
	switch {
	case s.To == wire.Unknown:
		r.label = "daemon starts"
	case !s.over() && c.Running:
		r.note = "under way"
	case !s.over():
		r.note, r.fails = "cut short", true
	case s.Kind != wire.KindCommitted:
		r.note, r.fails = string(s.Kind)+": "+clean(s.Why), true
	}
	for _, h := range s.Held {
		h.Begin, h.End = h.Begin-shift, h.End-shift
		r.add(h)
	}
	for i := range r.lines {
		r.lines[i].held, r.lines[i].reason = covered(r.lines[i].spells), inTurn(r.lines[i].spells)
	}
	return r
}

// add puts a spell on its notifier's line.
func (r *row) add(h spell) {
	i := slices.IndexFunc(r.lines, func(l line) bool { return l.notifier == h.Notifier })
	if i < 0 {
		r.lines = append(r.lines, line{notifier: h.Notifier})
		i = len(r.lines) - 1
	}
	r.lines[i].spells = append(r.lines[i].spells, h)
}

// inTurn tells the reasons of spells: "not connected, then no address yet".
func inTurn(spells []spell) string {
	var reasons []string
	for _, s := range spells {
		if text := clean(s.Reason); !slices.Contains(reasons, text) {
			reasons = append(reasons, text)
		}
	}
	text := strings.Join(reasons, ", then ")
	if n := len(reasons); n > 2 {
		text = reasons[0] + ", …, then " + reasons[n-1]
	}
	if last := spells[len(spells)-1]; last.How != "" {
		text += " (" + last.How + ")"
	}
	return text
}
