package cli

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"muster/internal/daemon"
)

func (a *app) doctorCommand() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:     "doctor",
		GroupID: "look",
		Short:   "Look the daemon and its device over, and say what is wrong",
		Long: `Look the daemon and its device over as a person would: its configuration, folder, versions, clock and
store, what holds the state, who does not answer, what failed. Each line is

  ok    as it should be
  warn  worth a look
  fail  to be mended; any of them makes the exit code 1

with a hint at what to do. Nothing is changed.`,
		Example: "  muster doctor\n  muster doctor -o json",
		Args:    asUsed,
		RunE: func(c *cobra.Command, _ []string) error {
			report := a.examine(c.Context(), file)
			if err := a.print(report, report.write); err != nil {
				return err
			}
			if report.Fail > 0 {
				return codeError(exitFailed)
			}
			return nil
		},
	}
	c.Flags().StringVar(&file, "config", "", "the configuration is in this `FILE` (default "+daemon.DefaultConfigFile+", if there is one)")
	return c
}

// verdict says how something is.
type verdict string

const (
	isOK verdict = "ok"
	warn verdict = "warn"
	fail verdict = "fail"
)

// finding is what is said of one thing.
type finding struct {
	Verdict verdict `json:"verdict"`
	About   string  `json:"about"`
	What    string  `json:"what"`
	Hint    string  `json:"hint,omitempty"` // what to do
}

func found(v verdict, about, format string, args ...any) finding {
	return finding{Verdict: v, About: about, What: fmt.Sprintf(format, args...)}
}

// advise adds what to do.
func (f finding) advise(format string, args ...any) finding {
	f.Hint = fmt.Sprintf(format, args...)
	return f
}

// report is everything that was found.
type report struct {
	Findings []finding `json:"findings"`
	OK       int       `json:"ok"`
	Warn     int       `json:"warn"`
	Fail     int       `json:"fail"`
}

func (r *report) add(findings ...finding) {
	for _, f := range findings {
		switch f.Verdict {
		case isOK:
			r.OK++
		case warn:
			r.Warn++
		case fail:
			r.Fail++
		}
	}
	r.Findings = append(r.Findings, findings...)
}

func (r *report) write(w io.Writer) {
	wide := 0
	for _, f := range r.Findings {
		wide = max(wide, len(f.About))
	}
	for _, f := range r.Findings {
		fmt.Fprintf(w, "%-4s  %-*s  %s\n", f.Verdict, wide, f.About, clean(f.What))
		if f.Hint != "" {
			fmt.Fprintf(w, "%*s  hint: %s\n", 4+2+wide, "", clean(f.Hint))
		}
	}
	fmt.Fprintf(w, "\n%d ok, %s, %s\n", r.OK, counted(r.Warn, "warning"), counted(r.Fail, "failure"))
}

// examine looks at everything, from the outside to the inside.
func (a *app) examine(ctx context.Context, file string) *report {
	r := &report{}
	p := a.visit(ctx, file)
	defer p.leave()
	if p.local {
		r.add(p.configuration()...)
		r.add(p.folder()...)
		r.add(p.announced()...)
	}
	r.add(p.answering())
	if p.bus == nil {
		return r
	}
	r.add(checkVersion(p.view)...)
	if p.local {
		r.add(p.process()...)
		r.add(p.space(ctx)...)
		r.add(checkFiles(p.dir, p.now)...)
	}
	r.add(checkClock(p.view, p.now))
	r.add(checkState(p.view)...)
	r.add(p.inside(ctx)...)
	return r
}

// named reports whether a daemon was meant by its URL alone, whose folder is then not looked at.
func (a *app) named() bool {
	return a.dir == "" && (a.server != "" || os.Getenv("MUSTER_SERVER") != "")
}
