package cli

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"time"

	"muster/wire"
)

// critical is the chain of holds that set the length of a boot. All times in it count from the boot's start.
type critical struct {
	Boot        string          `json:"boot"`
	Started     wire.UnixMicros `json:"started_at_us"`
	Operational wire.Micros     `json:"operational_us,omitempty"` // when it was first; 0: never
	Length      wire.Micros     `json:"length_us"`                // of the boot, which ends with its first OPERATIONAL
	Running     bool            `json:"running"`                  // the daemon has not ended since
	Held        wire.Micros     `json:"held_us"`                  // of Length, by the links of the chain
	Chain       []link          `json:"chain"`                    // in the order of time
	verdict     string
}

// link is one hold for which everything waited: in that time nobody held the step who held it for longer.
type link struct {
	To       wire.State  `json:"to"` // the state that was held off
	Notifier string      `json:"notifier"`
	Reason   string      `json:"reason"`
	Begin    wire.Micros `json:"begin_us"`
	End      wire.Micros `json:"end_us"`
	How      string      `json:"how,omitempty"` // it ended, if not by accepting: lost, overridden
}

// criticalPath finds the chain in a chart.
func (c *chart) criticalPath() critical {
	p := critical{
		Boot: c.Boot, Started: c.Started, Operational: c.Operational, Length: c.Length, Running: c.Running, Chain: []link{},
		verdict: c.verdict(),
	}
	for i := range c.Steps {
		p.Chain = append(p.Chain, c.Steps[i].links()...)
	}
	for _, l := range p.Chain {
		p.Held += l.End - l.Begin
	}
	return p
}

// links goes back from the end of a step: to whoever was the last to let it go, to whoever was that before he began, and
// so on. So every moment that was held is somebody's, and only his who held the longest from there.
func (s *step) links() (chain []link) {
	at := s.End
	for {
		var last spell
		for _, h := range s.Held {
			h.End = min(h.End, at)
			if h.Begin < h.End && cmp.Or(cmp.Compare(h.End, last.End), cmp.Compare(last.Begin, h.Begin)) > 0 {
				last = h
			}
		}
		if last.End == 0 {
			slices.Reverse(chain)
			return chain
		}
		chain = append(chain, link{s.To, last.Notifier, last.Reason, last.Begin, last.End, last.How})
		at = last.Begin
	}
}

// writeText tells the chain as a table.
func (p *critical) writeText(w io.Writer) {
	fmt.Fprintf(w, "boot %s of %s: %s\n", p.Boot, p.Started.Time().Local().Format(time.DateTime), p.verdict)
	if len(p.Chain) == 0 {
		fmt.Fprint(w, "held by nobody\n")
		return
	}
	fmt.Fprintf(w, "held for %s, %s by nobody\n\n", span(p.Held.Duration()), span((p.Length - p.Held).Duration()))
	var rows [][]string
	for _, l := range p.Chain {
		reason := clean(l.Reason)
		if l.How != "" {
			reason += " (" + l.How + ")"
		}
		rows = append(rows, []string{
			l.To.String(), span(l.Begin.Duration()), span((l.End - l.Begin).Duration()), l.Notifier, cut(reason),
		})
	}
	table(w, []string{"STATE", "FROM", "HELD FOR", "BY", "WHY"}, rows)
}
