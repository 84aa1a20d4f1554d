package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/BurntSushi/toml"
	"github.com/spf13/cobra"

	"muster/internal/daemon"
)

func (a *app) configCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:     "config",
		GroupID: "daemon",
		Short:   "The daemon's configuration: check it, show it, print the defaults",
		Long: `The daemon's configuration: check it, show it, print the defaults. Without a FILE it is that of
` + daemon.DefaultConfigFile + `, where there is one. No daemon is needed; one that runs has read its own at its start.`,
	}, a.configCheckCommand(), a.configShowCommand(), a.configDefaultCommand())
}

func (a *app) configCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "check [FILE]",
		Short:   "Tell whether a configuration file is right",
		Example: "  muster config check muster.toml",
		Args:    asUsed,
		RunE: func(_ *cobra.Command, args []string) error {
			_, from, err := readConfig(args)
			if err != nil {
				return err
			}
			return a.print(map[string]any{"file": from, "ok": true}, func(w io.Writer) {
				if from == "" {
					fmt.Fprintf(w, "there is no %s, so the defaults hold, and the environment, which is right\n", daemon.DefaultConfigFile)
				} else {
					fmt.Fprintf(w, "%s is right\n", from)
				}
			})
		},
	}
}

func (a *app) configShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "show [FILE]",
		Short:   "Print every setting as it holds: file, environment and defaults together",
		Example: "  muster config show\n  muster config show muster.toml -o json",
		Args:    asUsed,
		RunE: func(_ *cobra.Command, args []string) error {
			config, _, err := readConfig(args)
			if err != nil {
				return err
			}
			return a.writeConfig(config, config.Write)
		},
	}
}

func (a *app) configDefaultCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "default",
		Short:   "Print a configuration file that explains every setting and has its default",
		Example: "  muster config default > muster.toml",
		Args:    asUsed,
		RunE: func(*cobra.Command, []string) error {
			config := daemon.DefaultConfig()
			return a.writeConfig(config, config.Explain)
		},
	}
}

// writeConfig prints a configuration as TOML, in the words of write, or as JSON.
func (a *app) writeConfig(config daemon.Config, write func(io.Writer) error) error {
	var plain, text bytes.Buffer
	var settings map[string]any
	if err := errors.Join(config.Write(&plain), write(&text)); err != nil {
		return err
	}
	if _, err := toml.Decode(plain.String(), &settings); err != nil {
		return err
	}
	return a.print(settings, func(w io.Writer) { _, _ = text.WriteTo(w) }) // into memory
}

// readConfig reads and checks the configuration that the arguments mean, and tells which file it came from, "" for none.
func readConfig(args []string) (config daemon.Config, from string, err error) {
	from = daemon.DefaultConfigFile
	if len(args) > 0 {
		from = args[0]
	} else if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
		from = ""
	}
	config, err = daemon.LoadConfig(from)
	if err == nil {
		if err = config.Check(); err != nil && from != "" {
			err = fmt.Errorf("%s: %w", from, err)
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		err = hinted{err, `"muster config default" explains every setting and has its default`}
	}
	return config, from, err
}
