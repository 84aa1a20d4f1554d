package wire

import (
	"strconv"
	"strings"
)

// path is where in a message the reading is. It is kept without allocating, and put in words only when something is
// wrong.
type path struct {
	steps [MaxDepth + 1]step
	depth int
}

// step is a key of a map, or where key is "" and index not, the entry of a list.
type step struct {
	key   string
	index int
}

// into goes to the value of a key.
func (p *path) into(key string) {
	p.steps[p.depth] = step{key: key, index: -1}
	p.depth++
}

// at goes to an entry of a list.
func (p *path) at(index int) {
	p.steps[p.depth] = step{index: index}
	p.depth++
}

// up goes back.
func (p *path) up() { p.depth-- }

// String gives the path for a sentence: "holders[2].retry_us", and for the outermost value "the value".
func (p *path) String() string {
	if p.depth == 0 {
		return "the value"
	}
	var b strings.Builder
	for i, s := range p.steps[:p.depth] {
		switch {
		case s.index >= 0:
			b.WriteString("[" + strconv.Itoa(s.index) + "]")
		case i > 0:
			b.WriteString("." + plain(s.key))
		default:
			b.WriteString(plain(s.key))
		}
	}
	return b.String()
}

// plain gives a key as it is where it is a plain word, else quoted and cut.
func plain(key string) string {
	if CheckName("", key) == nil {
		return key
	}
	return quote(key)
}
