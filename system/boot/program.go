package boot

import (
	"context"
	"strings"
	"unicode"
)

// Program is a file that is run, and all that it is given: nothing of the daemon's environment comes through.
type Program struct {
	Path string
	Args []string
	Env  []string // NAME=value

	Input  []byte // what it reads from standard input; nil: nothing
	Result int    // how many bytes its standard output may have, which then is kept apart; 0: it is part of Output
}

// Exit is how a program ended.
type Exit struct {
	Code   int    // -1 when a signal ended it
	How    string // "exit status 1", "signal: killed"
	Output string // the end of what it wrote to standard output and standard error
	Result string // what it wrote to standard output, where that was asked for
}

// Runner runs programs. [Processes] is the real one.
type Runner interface {
	// Run runs a program until it ends, and what it has started with it. When ctx is done it kills all of them, and
	// the error is that of ctx; what was written until then is in Output all the same. Any other error is the reason why
	// the program was not run.
	Run(ctx context.Context, p Program) (Exit, error)
}

// What a program means by its exit code; they are Mender's.
const (
	exitAccept = 0
	exitDefer  = 21 // any other is an error
)

// environment is what every program is given, and what the caller adds.
func environment(more ...string) []string {
	return append([]string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/",
	}, more...)
}

// kept is how much of a program's output is kept, at its end.
const kept = 4096

// tail keeps the end of what is written to it.
type tail []byte

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	*t = append(*t, p...)
	if over := len(*t) - kept; over > 0 {
		*t = append((*t)[:0], (*t)[over:]...)
	}
	return len(p), nil
}

// bounded keeps the beginning of what is written to it.
type bounded struct {
	kept []byte
	most int
	over bool // there was more
}

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	fits := p[:min(len(p), b.most-len(b.kept))]
	b.kept = append(b.kept, fits...)
	b.over = b.over || len(fits) < len(p)
	return len(p), nil
}

// lastWords gives the last lines of a program's output as part of a reason: at most three, on one line.
func lastWords(output string) string {
	const lines, most = 3, 320
	printable := func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}
	var words []string
	for line := range strings.Lines(strings.ToValidUTF8(output, "?")) {
		if line = strings.TrimSpace(strings.Map(printable, line)); line != "" {
			words = append(words, line)
		}
	}
	text := strings.Join(words[max(0, len(words)-lines):], " / ")
	if len(text) > most {
		text = "…" + strings.ToValidUTF8(text[len(text)-most:], "")
	}
	return text
}

// withWords adds the last words of a program to what is said of it.
func withWords(said, output string) string {
	if words := lastWords(output); words != "" {
		return said + ": " + words
	}
	return said
}
