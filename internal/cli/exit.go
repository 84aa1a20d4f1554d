package cli

import (
	"fmt"
	"strings"
)

// The exit codes.
const (
	exitFailed   = 1
	exitUsage    = 2
	exitNoDaemon = 3
	exitRefused  = 4
	exitNotThere = 5

	exitInterrupted = 130 // as shells have it
)

// ExitCode is one way in which a command ends.
type ExitCode struct {
	Code    int
	Meaning string
}

// ExitCodes lists them for people: in the help, the manual pages and docs/cli.md.
func ExitCodes() []ExitCode {
	return []ExitCode{
		{0, "it is done"},
		{exitFailed, "something went wrong"},
		{exitUsage, "the command line is not one"},
		{exitNoDaemon, "nobody answers: no daemon runs there, or nobody is at that subject"},
		{exitRefused, "the daemon refused the request"},
		{exitNotThere, "the state was not reached: held, aborted or expired, or the time is over"},
		{exitInterrupted, "it was interrupted before it was done"},
	}
}

// exitHelp tells the exit codes at the end of a help text.
func exitHelp() string {
	var b strings.Builder
	b.WriteString("Exit codes:\n")
	for _, e := range ExitCodes() {
		fmt.Fprintf(&b, "  %-3d  %s\n", e.Code, e.Meaning)
	}
	return b.String()
}
