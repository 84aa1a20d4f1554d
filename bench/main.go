// Command bench measures muster on this machine and holds the figures against the limits that the project has set
// itself. It prints a table, writes the rows as JSON, and ends with 1 when a row is over its limit.
//
//	bench [-muster FILE] [-o FILE] [-profile FILE] [GROUP...]
//
// Without the name of a group it measures all of them; README.md beside it says what each row is and how to read it.
// Real daemons are measured: one within this process where the time of a part is wanted, the program bin/muster where
// a process is. Whoever takes part from another process is this program, started again by itself in a role.
//
// What muster adds to NATS is told by a ratio: the same work is done with nothing but NATS, in turn, A B A B, in the
// same run, so that whatever else the machine does meets both alike. All of it takes a few minutes.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime/pprof"
	"slices"
	"strings"
)

// group is rows that are measured together.
type group struct {
	name string
	run  func(Setting, func(Row)) error
}

var groups = []group{
	{"round", rounds},
	{"request", requests},
	{"identity", identities},
	{"boot", boots},
	{"attach", attaches},
	{"start", starts},
	{"loss", losses},
	{"growth", growth},
}

// Setting is what the command line says.
type Setting struct {
	Program string // muster, as a file
}

func main() {
	if name := os.Getenv(roleVariable); name != "" {
		end(play(name, os.Stdin, os.Stdout))
	}
	var set Setting
	flag.StringVar(&set.Program, "muster", "bin/muster", "measure this `FILE`, built by make build")
	out := flag.String("o", "", "write the rows to this `FILE` as JSON")
	profile := flag.String("profile", "", "write the processor's profile of this process to this `FILE`")
	flag.Parse()
	end(run(set, flag.Args(), *out, *profile))
}

// end ends the process.
func end(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// run measures the groups that are named and reports.
func run(set Setting, names []string, out, profile string) error {
	chosen, err := choose(names)
	if err != nil {
		return err
	}
	stop, err := startProfile(profile)
	if err != nil {
		return err
	}
	var rows []Row
	printHead(os.Stdout)
	for _, g := range chosen {
		err := g.run(set, func(r Row) {
			r.Command = "make bench ONLY=" + g.name
			rows = append(rows, r)
			r.print(os.Stdout)
		})
		if err != nil {
			return errors.Join(fmt.Errorf("%s: %w", g.name, err), stop())
		}
	}
	if err := stop(); err != nil {
		return err
	}
	if out != "" {
		if err := write(out, rows); err != nil {
			return err
		}
	}
	return verdict(rows)
}

// choose gives the groups of those names, all without a name.
func choose(names []string) ([]group, error) {
	if len(names) == 0 {
		return groups, nil
	}
	var chosen []group
	for _, name := range names {
		i := slices.IndexFunc(groups, func(g group) bool { return g.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no group %q; there are %s", name, strings.Join(groupNames(), ", "))
		}
		chosen = append(chosen, groups[i])
	}
	return chosen, nil
}

func groupNames() []string {
	var names []string
	for _, g := range groups {
		names = append(names, g.name)
	}
	return names
}

// startProfile writes a profile until stop is called, if a file is named.
func startProfile(file string) (stop func() error, err error) {
	if file == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}
