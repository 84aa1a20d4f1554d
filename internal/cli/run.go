package cli

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"muster/internal/daemon"
	"muster/wire"
)

func (a *app) runCommand() *cobra.Command {
	var file, listen, platform, logLevel, stdin string
	c := &cobra.Command{
		Use:     "run",
		GroupID: "daemon",
		Short:   "Be the daemon of this device",
		Long: `Be the daemon of this device: carry the bus, boot through the states, and serve until
CONTEXT_DESTROYING is reached, by anybody's wish or by SIGTERM or SIGINT.

What is not said by a flag comes from the environment (MUSTER_DIR, MUSTER_LISTEN, MUSTER_SOCKET,
MUSTER_PLATFORM, MUSTER_LOG_LEVEL), then from the configuration file, then from the defaults; "muster config default"
prints them. With --stdin a secret comes in without the command line or the environment showing it: standard input
is read to its end, at most 1 MiB, and COLLECTING_STDIN is held until the blob has it. On SIGHUP the roles and
the policy are read again. Once every endpoint answers, <dir>/run.json says where.`,
		Example: "  muster run\n  muster run --dir /tmp/try --listen 127.0.0.1:0\n  muster run --stdin auth.0 < token",
		Args:    asUsed,
		RunE: func(c *cobra.Command, _ []string) error {
			config, err := daemon.LoadConfig(file)
			if err != nil {
				return err
			}
			for flag, setting := range map[string]*string{"dir": &config.Dir, "listen": &config.Listen, "platform": &config.Platform, "log-level": &config.LogLevel} {
				if c.Flags().Changed(flag) {
					*setting = c.Flag(flag).Value.String()
				}
			}
			if err := config.Check(); err != nil {
				return hinted{err, `"muster config default" prints every setting with its default`}
			}
			log := config.Logger(a.Err)
			opts := daemon.Options{Log: log, Reload: reload(c.Context(), file, log)}
			if stdin != "" {
				into, err := inputBlob(c, stdin)
				if err != nil {
					return err
				}
				opts.Stdin = &daemon.Input{From: a.In, Into: into}
			}
			if err := daemon.Run(c.Context(), config, opts); err != nil {
				return fmt.Errorf("run: %w", err)
			}
			return nil
		},
	}
	flags := c.Flags()
	flags.StringVar(&file, "config", "", "read the configuration from this `FILE` (default "+daemon.DefaultConfigFile+", if there is one)")
	flags.StringVar(&listen, "listen", "", "put the bus at this `ADDRESS`, loopback only; port 0 lets the kernel choose (default 127.0.0.1:4222)")
	flags.StringVar(&platform, "platform", "", "let reboot and set-clock act on this `PLATFORM`: linux, the machine itself, or sim, a simulation (default sim)")
	flags.StringVar(&logLevel, "log-level", "", "log from this `LEVEL` up: debug, info, warn or error (default info)")
	flags.StringVar(&stdin, "stdin", "", "read standard input into this `BLOB`, auth.0 for example")
	completeFlag(c, "stdin", func(c *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return a.completeBlobs(c, nil, typed)
	})
	completeFlag(c, "listen", cobra.NoFileCompletions)
	completeFlag(c, "platform", cobra.FixedCompletions([]string{"linux", "sim"}, cobra.ShellCompDirectiveNoFileComp))
	completeFlag(c, "log-level", cobra.FixedCompletions([]string{"debug", "info", "warn", "error"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

// inputBlob reads the name of a blob that there may be.
func inputBlob(c *cobra.Command, text string) (wire.BlobKey, error) {
	k, err := blobKey(c, text)
	if err != nil {
		return k, err
	}
	known, ok := wire.KnownBlob(k.Name)
	switch {
	case !ok:
		nearest := wire.Nearest(k.Name, append(wire.BlobNames(), wire.UserBlobPrefix+k.Name))
		return k, misused(c, "there is no blob %s; did you mean %s?", k.Name, nearest)
	case k.Index >= known.Indexes:
		return k, misused(c, "blob %s has no index %d; 0 to %d would be right", k.Name, k.Index, known.Indexes-1)
	}
	return k, nil
}

// reload reads the configuration anew on each SIGHUP. One that is wrong is told in the log, and not given.
func reload(ctx context.Context, file string, log *slog.Logger) <-chan daemon.Config {
	hups := make(chan os.Signal, 1)
	signal.Notify(hups, syscall.SIGHUP)
	configs := make(chan daemon.Config)
	go func() {
		defer signal.Stop(hups)
		for {
			select {
			case <-ctx.Done():
				return
			case <-hups:
			}
			config, err := daemon.LoadConfig(file)
			if err == nil {
				err = config.Check()
			}
			if err != nil {
				log.Error("configuration not reloaded; what was in force stays", "error", err)
				continue
			}
			select {
			case configs <- config:
			case <-ctx.Done():
				return
			}
		}
	}()
	return configs
}
