package main

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// roff is a manual page as it is written: the macros of man(7).
type roff struct{ strings.Builder }

// newPage begins a page. There is no date on it: the same source makes the same page on every day.
func newPage(name string, section int, about string) *roff {
	r := &roff{}
	r.macro(".nr HY 0") // a word that is cut in two cannot be searched for
	r.macro(fmt.Sprintf(`.TH "%s" "%d" "" "muster" "muster manual"`, escape(strings.ToUpper(name)), section))
	r.macro(".nh")
	r.macro(".ad l")
	r.section("NAME")
	r.line(name + " - " + about)
	return r
}

func (r *roff) macro(text string) { r.WriteString(text + "\n") }

// line writes a line of text; what roff would take for a macro is none.
func (r *roff) line(text string) { r.WriteString(escape(text) + "\n") }

func (r *roff) section(name string)    { r.macro(".SH " + escape(name)) }
func (r *roff) subsection(name string) { r.macro(".SS " + escape(name)) }

// item writes a term and what it means.
func (r *roff) item(term, text string) {
	r.macro(".TP")
	r.macro(`\fB` + escape(term) + `\fP`)
	r.line(text)
}

// verbatim writes lines as they are.
func (r *roff) verbatim(lines []string) {
	r.macro(".PP")
	r.macro(".RS 4")
	r.macro(".EX")
	for _, line := range lines {
		r.line(line)
	}
	r.macro(".EE")
	r.macro(".RE")
}

// term is an indented line of a help text that says what a word means.
var term = regexp.MustCompile(`^  (\S+) {2,}(\S.*)$`)

// text writes a help text: paragraphs, terms with their meaning, and indented lines as they are.
func (r *roff) text(text string) {
	var kept []string
	flush := func() {
		if len(kept) > 0 {
			r.verbatim(kept)
		}
		kept = nil
	}
	begun := false
	for line := range strings.Lines(text + "\n") {
		line = strings.TrimRight(line, " \n")
		indented := strings.HasPrefix(line, "  ") || strings.HasPrefix(line, "\t")
		parts := term.FindStringSubmatch(line)
		if !indented || parts != nil {
			flush()
		}
		switch {
		case line == "":
			begun = false
		case parts != nil:
			r.item(parts[1], parts[2])
			begun = false
		case indented:
			kept = append(kept, strings.TrimPrefix(strings.TrimPrefix(line, "  "), "\t"))
			begun = false
		default:
			if !begun {
				r.macro(".PP")
			}
			r.line(strings.TrimLeft(line, "# ")) // cobra's own texts have headings
			begun = true
		}
	}
	flush()
}

// escape makes text stand for itself, in ASCII.
func escape(text string) string {
	var b strings.Builder
	for i, c := range text {
		switch {
		case i == 0 && (c == '.' || c == '\''):
			b.WriteString(`\&`)
			b.WriteRune(c)
		case special[c] != "":
			b.WriteString(special[c])
		case c >= utf8.RuneSelf:
			fmt.Fprintf(&b, `\[u%04X]`, c)
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}

// special are the characters that roff would show as something else.
var special = map[rune]string{'\\': `\e`, '-': `\-`, '`': `\(ga`, '^': `\(ha`, '~': `\(ti`}
