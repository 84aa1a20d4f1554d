package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"muster/client"
	"muster/internal/daemon"
	"muster/internal/version"
	"muster/wire"
)

// Streams are where a command reads and writes.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// app is what the commands share: the streams and the flags that all of them have.
type app struct {
	Streams
	dir    string // of the daemon, where run.json is
	server string // URL of the bus
	output string // text or json
}

// Main runs one command line and gives its exit code. ctx ends with a signal.
func Main(ctx context.Context, args []string, streams Streams) int {
	a := &app{Streams: streams}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.Cause(ctx))):
		err = coded{hinted{errInterrupted, hintOf(err)}, exitInterrupted}
	}
	return a.fail(err)
}

var errInterrupted = errors.New("interrupted")

// Root gives the whole command, for the manual pages that are made from it.
func Root() *cobra.Command { return (&app{}).root() }

func (a *app) root() *cobra.Command {
	root := group(&cobra.Command{
		Use:           "muster",
		Short:         "Let the processes of a device agree on its state",
		Long:          "muster lets the processes of an embedded-Linux device agree on the state of the device.\n\n" + `Start with "muster demo", or "muster run" and then "muster status".`,
		Version:       version.String(),
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(c *cobra.Command, _ []string) error {
			if a.output != "text" && a.output != "json" {
				return misused(c, "output is %q; text or json would be right", a.output)
			}
			return nil
		},
	}, a.commands()...)
	root.SetFlagErrorFunc(badFlag)
	flags := root.PersistentFlags()
	flags.StringVar(&a.dir, "dir", "", "look for the daemon in this `FOLDER` (default $MUSTER_DIR, else /var/lib/muster for root and ~/.local/state/muster for others)")
	flags.StringVar(&a.server, "server", "", "reach the bus at this `URL` (default $MUSTER_SERVER, else what the daemon's folder says)")
	flags.StringVarP(&a.output, "output", "o", "text", "tell it in this `FORM`: text for people, or json, one message a line")
	completeFlag(root, "server", cobra.NoFileCompletions)
	completeFlag(root, "dir", cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs))
	completeFlag(root, "output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	root.AddGroup(&cobra.Group{ID: "daemon", Title: "The daemon:"}, &cobra.Group{ID: "state", Title: "The state of the device:"},
		&cobra.Group{ID: "parts", Title: "Loops, blobs, operations:"}, &cobra.Group{ID: "look", Title: "Looking closer:"})
	completeNothingElse(root)
	root.SetHelpCommand(helpCommand())
	root.SetCompletionCommandGroupID("look")
	root.SetUsageFunc(usage)
	return root
}

// commands lists them in the order of the help.
func (a *app) commands() []*cobra.Command {
	return []*cobra.Command{
		a.runCommand(), a.configCommand(), a.demoCommand(), a.partCommand(),
		a.statusCommand(), a.stateCommand(), a.waitCommand(), a.holdersCommand(), a.resumeCommand(), a.notifiersCommand(), a.holdCommand(),
		a.loopCommand(), a.blobCommand(), a.opCommand(),
		a.monitorCommand(), a.blameCommand(), a.criticalPathCommand(), a.callCommand(), a.accessCommand(), a.doctorCommand(), a.versionCommand(),
	}
}

// codeError ends the command with a code of its own; what there is to say was said.
type codeError int

func (e codeError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// coded is an error that ends the command with a code of its own.
type coded struct {
	error
	code int
}

func (c coded) Unwrap() error { return c.error }

// hinted is an error with what may help.
type hinted struct {
	error
	hint string
}

func (h hinted) Unwrap() error { return h.error }

// hintOf gives what may help with an error, "" for nothing.
func hintOf(err error) string {
	h, _ := errors.AsType[hinted](err)
	return h.hint
}

// fail tells a person what went wrong, and gives the exit code.
func (a *app) fail(err error) int {
	code, silent := errors.AsType[codeError](err)
	if !silent {
		fmt.Fprintf(a.Err, "muster: %s\n", message(err))
	}
	if hint := hintOf(err); hint != "" {
		fmt.Fprintf(a.Err, "hint: %s\n", hint)
	}
	own, special := errors.AsType[coded](err)
	_, usage := errors.AsType[usageError](err)
	_, refused := errors.AsType[*wire.Error](err)
	switch {
	case silent:
		return int(code)
	case special:
		return own.code
	case usage:
		return exitUsage
	case errors.Is(err, client.ErrNoDaemon):
		return exitNoDaemon
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, &wire.Error{Code: wire.CodeTimeout}):
		return exitNotThere
	case refused || errors.Is(err, client.ErrRefused):
		return exitRefused
	}
	return exitFailed
}

// message is an error's text for a person: the daemon's own words where it refused something.
func message(err error) string {
	if e, ok := errors.AsType[*wire.Error](err); ok {
		return clean(e.Error())
	}
	return err.Error()
}

// connect joins the bus of the daemon that is meant.
func (a *app) connect(ctx context.Context, opts ...nats.Option) (*client.Client, error) {
	url := a.find()
	c, err := client.Connect(ctx, url, client.Options{Name: "muster", Log: a.notices(), NATS: opts})
	switch {
	case errors.Is(err, client.ErrRefused):
		return nil, hinted{fmt.Errorf("%w at %s", client.ErrRefused, url), "a [[role]] of the daemon's configuration has to name this user"}
	case err != nil:
		return nil, hinted{fmt.Errorf("%w at %s", client.ErrNoDaemon, url), a.whyAway()}
	}
	return c, nil
}

// whyAway says what may be done when nobody answers.
func (a *app) whyAway() string {
	file, err := daemon.ReadRunFile(a.folder())
	switch {
	case a.named():
	case err == nil && !running(file.PID):
		return fmt.Sprintf(`process %d is gone, which said in %s that it is there; start it again with "muster run"`, file.PID, a.folder())
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("%v; be the daemon's user, or name the bus with --server", err)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Sprintf("%v; a daemon writes it anew at its start", err)
	}
	return `start one with "muster run", or name it with --dir or --server`
}

// find gives the URL of the bus: as said, or as the daemon's run.json has it.
func (a *app) find() string {
	if a.server != "" {
		return a.server
	}
	if url := os.Getenv("MUSTER_SERVER"); url != "" && a.dir == "" {
		return url
	}
	if file, err := daemon.ReadRunFile(a.folder()); err == nil {
		return file.URL
	}
	return client.DefaultURL
}

// folder is the daemon's.
func (a *app) folder() string {
	if a.dir != "" {
		return a.dir
	}
	if dir := os.Getenv("MUSTER_DIR"); dir != "" {
		return dir
	}
	return daemon.DefaultDir()
}

// with joins the bus for one piece of work.
func (a *app) with(ctx context.Context, work func(context.Context, *client.Client) error) error {
	c, err := a.connect(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	return work(ctx, c)
}

// strictly joins the bus for one piece of work, which ends when the server does not let this user do it: it only says
// so, and no answer ever comes.
func (a *app) strictly(ctx context.Context, work func(context.Context, *client.Client) error) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	c, err := a.connect(ctx, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		if errors.Is(err, nats.ErrPermissionViolation) {
			what := strings.TrimPrefix(err.Error(), nats.ErrPermissionViolation.Error()+": ")
			end(wire.Errorf(wire.CodeForbidden, "the bus does not let this user: %s", what))
		}
	}))
	if err != nil {
		return err
	}
	defer c.Close()
	err = work(ctx, c)
	if refused, is := errors.AsType[*wire.Error](context.Cause(ctx)); err != nil && is {
		return refused
	}
	return err
}
