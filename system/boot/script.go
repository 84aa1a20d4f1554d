package boot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"muster/system"
	"muster/wire"
)

// Script is a notifier that is a program: it is run for each question, and its exit code is the answer. 0 accepts, 21
// defers and any other code is an error, which defers too; what it wrote last is the reason. The question is in
// its arguments (the target, then the state before) and in its environment as MUSTER_TO, MUSTER_FROM, MUSTER_GOAL,
// MUSTER_REASON, MUSTER_ROUND, and MUSTER_FINAL or MUSTER_DRY_RUN.
type Script struct {
	Name   string
	Path   string
	Order  int          // the number before its name
	States []wire.State // that it is asked about; none means all
	About  string

	opts ScriptOptions

	mu       sync.Mutex
	failures int // in a row
	cancel   context.CancelFunc
	over     bool
	running  sync.WaitGroup
}

// ScriptOptions are the surroundings of scripts. The zero value works.
type ScriptOptions struct {
	Runner  Runner        // nil: [Processes]
	Timeout time.Duration // for an answer, after which it is killed; 0: 30 s
	Retry   time.Duration // after which it is asked again when it defers; 0: 10 s
	Env     []string      // what scripts are given besides: NAME=value
}

// scriptName is NN-name or NN-name.STATE+STATE.
var scriptName = regexp.MustCompile(`^([0-9]{2})-([A-Za-z0-9_-]{1,64})(?:\.([A-Z0-9_+]+))?$`)

// headSize is how much of a script is searched for its head.
const headSize = 4096

// Scripts reads a folder of scripts, in the order in which they are asked. The folder has to be one that nobody but root
// and the daemon's own user can change. A file whose name does not begin with two digits and a dash is not meant, as the
// editors' copies are not, and is listed in ignored; one that is and cannot be read as a script is an error, for a veto that is
// left out in silence is worse than none.
func Scripts(dir string, opts ScriptOptions) (scripts []*Script, ignored []string, err error) {
	names, ignored, err := readFolder(dir)
	if err != nil {
		return nil, nil, err
	}
	if opts.Runner == nil {
		opts.Runner = Processes{}
	}
	if opts.Timeout == 0 {
		opts.Timeout = 30 * time.Second
	}
	if opts.Retry == 0 {
		opts.Retry = 10 * time.Second
	}
	for _, name := range names {
		s := &Script{Path: dir + "/" + name, opts: opts}
		if err := s.read(name); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", s.Path, err)
		}
		if i := slices.IndexFunc(scripts, func(other *Script) bool { return other.Name == s.Name }); i >= 0 {
			return nil, nil, fmt.Errorf("%s and %s are both named %s; one name, one script", scripts[i].Path, s.Path, s.Name)
		}
		scripts = append(scripts, s)
	}
	return scripts, ignored, nil
}

// numbered is how the name of a file begins that is meant to be run.
var numbered = regexp.MustCompile(`^[0-9]{2}-.*[^~]$`)

// readFolder lists the files of a folder that are meant to be run, in their order, and the others.
func readFolder(dir string) (names, others []string, err error) {
	if err := trusted(dir, os.Geteuid()); err != nil {
		return nil, nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, entry := range entries {
		if numbered.MatchString(entry.Name()) {
			names = append(names, entry.Name())
		} else {
			others = append(others, entry.Name())
		}
	}
	return names, others, nil
}

// read takes what a script says of itself, in its name and in its head.
func (s *Script) read(file string) (err error) {
	parts := scriptName.FindStringSubmatch(file)
	if parts == nil {
		return errors.New("its name cannot be read; NN-name or NN-name.STATE would be right, with letters, digits, _ and - in the name")
	}
	s.Name = parts[2]
	s.Order, _ = strconv.Atoi(parts[1]) // two digits
	if parts[3] != "" {
		if s.States, err = readStates(strings.Split(parts[3], "+")); err != nil {
			return err
		}
	}
	head, err := readHead(s.Path)
	if err != nil {
		return err
	}
	for key, value := range head {
		switch {
		case key == "about":
			s.About = value
		case key != "states":
			return fmt.Errorf("muster-%s stands in its head; did you mean muster-%s?", key, wire.Nearest(key, []string{"about", "states"}))
		case s.States != nil:
			return errors.New("its states stand in its name and in its head; one of them would be right")
		default:
			if s.States, err = readStates(strings.FieldsFunc(value, func(r rune) bool { return r == ' ' || r == ',' || r == '\t' })); err != nil {
				return err
			}
		}
	}
	return nil
}

func readStates(names []string) ([]wire.State, error) {
	var states []wire.State
	for _, name := range names {
		state, err := wire.ParseState(name)
		if err != nil {
			return nil, err
		}
		if state == wire.Unknown {
			return nil, errors.New("UNKNOWN is no state that anything moves to")
		}
		states = append(states, state)
	}
	return states, nil
}

// readHead reads the "# muster-<key>: <value>" lines among the comments at the beginning of a file.
func readHead(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	buffer := make([]byte, headSize)
	n, _ := f.Read(buffer) // an empty file has no head
	if err := f.Close(); err != nil {
		return nil, err
	}
	head := map[string]string{}
	for line := range bytes.Lines(buffer[:n]) {
		comment, ok := strings.CutPrefix(string(line), "#")
		if !ok {
			break
		}
		if rest, ours := strings.CutPrefix(strings.TrimSpace(comment), "muster-"); ours {
			key, value, _ := strings.Cut(rest, ":")
			head[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
	return head, nil
}

// Notifier implements [Part]. The script is killed and answered for before its time as a notifier ends.
func (s *Script) Notifier() system.Notifier {
	about := s.About
	if about == "" {
		about = s.Path
	}
	return system.Notifier{
		Name: s.Name, States: s.States, Order: s.Order, About: about, Ask: s.ask,
		Timeout: s.opts.Timeout + 2*time.Second,
	}
}

// Run implements [Part]. When it returns, no process of the script is left.
func (s *Script) Run(ctx context.Context) error {
	<-ctx.Done()
	s.mu.Lock()
	s.over = true
	if s.cancel != nil {
		s.cancel()
	}
	s.mu.Unlock()
	s.running.Wait()
	return nil
}

// ask runs the script once.
func (s *Script) ask(ctx context.Context, q wire.Question) wire.Answer {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	if !s.begin(cancel) {
		return deferred("the daemon stops")
	}
	defer s.running.Done()
	exit, err := s.opts.Runner.Run(ctx, Program{
		Path: s.Path, Args: []string{q.To.String(), q.From.String()}, Env: environment(append(asEnv(q), s.opts.Env...)...),
	})
	return s.answer(q.DryRun, exit, err)
}

// begin notes that the script runs, unless it is too late for that.
func (s *Script) begin(cancel context.CancelFunc) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	s.cancel = cancel
	s.running.Add(1)
	return true
}

// answer makes an answer of how the script ended. After errors it is asked again at growing distances, which a dry run neither
// lengthens nor ends.
func (s *Script) answer(dry bool, exit Exit, err error) wire.Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	again := backoff(s.failures + 1)
	switch {
	case dry:
	case err == nil && (exit.Code == exitAccept || exit.Code == exitDefer):
		s.failures = 0
	default:
		s.failures++
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return deferredFor(withWords(fmt.Sprintf("no answer within %v, so it was killed", s.opts.Timeout), exit.Output), again)
	case err != nil:
		return deferredFor(withWords("it was not run", err.Error()), again)
	case exit.Code == exitAccept:
		return accepted
	case exit.Code == exitDefer:
		reason := lastWords(exit.Output)
		if reason == "" {
			reason = fmt.Sprintf("it defers (exit status %d) and does not say why", exitDefer)
		}
		return deferredFor(reason, s.opts.Retry)
	}
	return deferredFor(withWords("it failed, "+exit.How, exit.Output), again)
}

// asEnv tells a program the question.
func asEnv(q wire.Question) []string {
	env := []string{
		"MUSTER_ID=" + q.ID, "MUSTER_FROM=" + q.From.String(), "MUSTER_TO=" + q.To.String(), "MUSTER_GOAL=" + q.Goal.String(),
		"MUSTER_REASON=" + strings.ReplaceAll(q.Reason, "\x00", " "), "MUSTER_ROUND=" + strconv.Itoa(q.Round),
	}
	if q.Final {
		env = append(env, "MUSTER_FINAL=1")
	}
	if q.DryRun {
		env = append(env, "MUSTER_DRY_RUN=1")
	}
	return env
}
