package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"muster/client"
	"muster/wire"
)

func (a *app) callCommand() *cobra.Command {
	var timeout time.Duration
	c := &cobra.Command{
		Use:     "call SUBJECT [JSON]",
		GroupID: "look",
		Short:   "Send any request, and show its answer",
		Long: `Send a request to any subject, and show the answer. What is sent is JSON, {} where nothing is said;
"-" takes it from standard input. With -o json the answer is left on one line.

The request subjects of the daemon are completed by the shell; docs/protocol.md tells what they take.`,
		Example:           "  muster call sys.api.state.get\n  muster call sys.api.state.request '{\"target\":\"OPERATIONAL\",\"reason\":\"by hand\"}'",
		Args:              asUsed,
		ValidArgsFunction: a.completeSubjects,
		RunE: func(c *cobra.Command, args []string) error {
			body := []byte("{}")
			if len(args) > 1 {
				body = []byte(args[1])
			}
			if err := checkSubject(args[0]); err != nil {
				return misused(c, "%v", err)
			}
			if string(body) == "-" {
				var err error
				if body, err = a.read(c.Context(), "-", wire.MaxPayload); err != nil {
					return err
				}
			}
			if _, err := wire.RawFromJSON(body); err != nil {
				return misused(c, "%s", wire.AsError(err).Message)
			}
			return a.strictly(c.Context(), func(ctx context.Context, bus *client.Client) error {
				return a.call(ctx, bus, args[0], body, timeout)
			})
		},
	}
	c.Flags().DurationVar(&timeout, "timeout", 0, "wait up to `D` for the answer (default 10s, and 5m10s where the daemon may wait by itself)")
	completeFlag(c, "timeout", cobra.NoFileCompletions)
	return c
}

// answerWait is how long an answer may take when nothing is said.
const answerWait = 10 * time.Second

func (a *app) call(ctx context.Context, bus *client.Client, subject string, body []byte, timeout time.Duration) error {
	if timeout == 0 {
		timeout = answerWait
		if e := endpointAt(subject); e != nil && e.Waits {
			timeout += wire.MaxWait.Duration()
		}
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	answer, err := bus.CallJSON(ctx, subject, body)
	switch {
	case errors.Is(err, client.ErrNoDaemon):
		return hinted{nobody{subject}, whoAnswers(subject)}
	case err != nil:
		return err
	case a.output == "json" && !json.Valid(answer):
		return hinted{fmt.Errorf("the answer is not JSON"), "-o text shows it as it is"}
	case a.output == "json":
		_, err := fmt.Fprintf(a.Out, "%s\n", answer)
		return err
	}
	return a.print(nil, func(w io.Writer) { a.writeAnswer(w, answer) })
}

// writeAnswer shows what a stranger answered: JSON as a rule.
func (a *app) writeAnswer(w io.Writer, answer []byte) {
	switch {
	case len(answer) == 0:
		fmt.Fprintln(a.Err, "hint: the answer has no content")
	case json.Valid(answer):
		writeJSON(w, answer)
	case isText(answer):
		fmt.Fprintf(w, "%s\n", answer)
	default:
		writeHex(w, answer, 0)
	}
}

// nobody says that a request reached no one.
type nobody struct{ subject string }

func (e nobody) Error() string { return "nobody answers at " + e.subject }
func (nobody) Unwrap() error   { return client.ErrNoDaemon }

// checkSubject holds a subject against what a request can be sent to.
func checkSubject(subject string) error {
	for token := range strings.SplitSeq(subject, ".") {
		if token == "" || token == "*" || token == ">" || strings.ContainsAny(token, " \t\r\n\x00") {
			return fmt.Errorf("%q is not a subject to send to; sys.api.state.get would be one", subject)
		}
	}
	return nil
}

// endpointAt gives the endpoint of the daemon's that a subject leads to, nil for none.
func endpointAt(subject string) *wire.EndpointInfo {
	tokens := strings.Split(subject, ".")
	for _, e := range wire.Endpoints() {
		if slices.Equal(fillFrom(e, tokens), tokens) {
			return e
		}
	}
	return nil
}

// fillFrom gives the tokens of an endpoint's subject, its parameters taken from where they stand in another one.
func fillFrom(e *wire.EndpointInfo, tokens []string) []string {
	filled := strings.Split(e.Subject, ".")
	for i, token := range filled {
		if strings.HasPrefix(token, "<") && i < len(tokens) {
			filled[i] = tokens[i]
		}
	}
	return filled
}

// whoAnswers says why nobody may be at a subject, or which one may have been meant.
func whoAnswers(subject string) string {
	switch {
	case endpointAt(subject) != nil:
		return "the daemon is not ready yet, or stopping; \"muster doctor\" looks closer"
	case strings.HasPrefix(subject, wire.NotifyPrefix):
		return "no notifier of that name is connected; \"muster notifiers\" lists them"
	case strings.HasPrefix(subject, wire.CallPrefix):
		return "no process serves it now"
	}
	tokens := strings.Split(subject, ".")
	var subjects []string
	for _, e := range wire.Endpoints() {
		subjects = append(subjects, strings.Join(fillFrom(e, tokens), "."))
	}
	return "the nearest request subject is " + wire.Nearest(subject, subjects)
}

// completeSubjects offers the request subjects of the daemon, those with a parameter for what there is.
func (a *app) completeSubjects(c *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var offers []cobra.Completion
	for _, e := range wire.Endpoints() {
		for _, subject := range a.fillings(c.Context(), e, typed) {
			offers = append(offers, cobra.CompletionWithDesc(subject, e.Doc))
		}
	}
	return offers, cobra.ShellCompDirectiveNoFileComp
}

// fillings gives the subjects that an endpoint has on the running daemon. It is asked only for what was begun to be
// typed.
func (a *app) fillings(ctx context.Context, e *wire.EndpointInfo, typed string) (subjects []string) {
	start, parameters, open := strings.Cut(e.Subject, "<")
	switch {
	case !open:
		return []string{e.Subject}
	case !strings.HasPrefix(typed, start):
		return []string{start}
	}
	switch parameters {
	case "name>.<index>":
		for _, k := range a.blobKeys(ctx) {
			subjects = append(subjects, start+blobName(k))
		}
	case "n>":
		a.offer(ctx, func(ctx context.Context, bus *client.Client) {
			list, _ := client.Call(ctx, bus, wire.LoopList, wire.Empty{}) // nothing to offer without it
			for _, l := range list.Loops {
				subjects = append(subjects, start+strconv.Itoa(l.N))
			}
		})
	case "notifier>":
		a.offer(ctx, func(ctx context.Context, bus *client.Client) {
			list, _ := client.Call(ctx, bus, wire.NotifierList, wire.Empty{}) // nothing to offer without it
			for _, n := range list.Notifiers {
				subjects = append(subjects, start+n.Name)
			}
		})
	}
	return subjects
}
