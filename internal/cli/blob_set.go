package cli

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"muster/client"
	"muster/wire"
)

func (a *app) blobSetCommand() *cobra.Command {
	var revision uint64
	c := &cobra.Command{
		Use:   "set NAME[.INDEX] [FILE]",
		Short: "Replace a blob's content by that of a file or of standard input",
		Long: `Replace a blob's content by that of a file or, without one or with "-", of standard input.
It is on disk when the command ends. With --revision the content is replaced only if nobody has
written the blob since; "blob list" shows the revisions, and 0 means that nothing was set yet.`,
		Example:           "  printf SN-0815 | muster blob set device-serial\n  muster blob set client-cert-der cert.der",
		Args:              asUsed,
		ValidArgsFunction: a.completeWrite,
		RunE: func(c *cobra.Command, args []string) error {
			return a.writeBlob(c, args, func(ctx context.Context, bus *client.Client, key wire.BlobKey, data []byte) (wire.BlobWritten, error) {
				write := wire.BlobWrite{BlobKey: key, Data: data}
				if c.Flags().Changed("revision") {
					write.Revision = &revision
				}
				return client.Call(ctx, bus, wire.BlobSet, write)
			})
		},
	}
	c.Flags().Uint64Var(&revision, "revision", 0, "only if the blob is at this `REVISION`")
	return c
}

func (a *app) blobAppendCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "append NAME[.INDEX] [FILE]",
		Short:             "Add a file or standard input to a blob's end",
		Long:              `Add a file or, without one or with "-", standard input to a blob's end, atomically against other writers.`,
		Example:           "  date | muster blob append user-log",
		Args:              asUsed,
		ValidArgsFunction: a.completeWrite,
		RunE: func(c *cobra.Command, args []string) error {
			return a.writeBlob(c, args, func(ctx context.Context, bus *client.Client, key wire.BlobKey, data []byte) (wire.BlobWritten, error) {
				return client.Call(ctx, bus, wire.BlobAppend, wire.BlobTail{BlobKey: key, Data: data})
			})
		},
	}
}

func (a *app) blobEmptyCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "empty NAME[.INDEX]",
		Short:             "Take a blob's content away",
		Example:           "  muster blob empty auth.1",
		Args:              asUsed,
		ValidArgsFunction: a.completeBlobs,
		RunE: func(c *cobra.Command, args []string) error {
			return a.onBlob(c, args[0], func(ctx context.Context, bus *client.Client, key wire.BlobKey) error {
				emptied, err := client.Call(ctx, bus, wire.BlobEmpty, key)
				if err != nil {
					return err
				}
				return a.print(emptied, func(w io.Writer) {
					fmt.Fprintf(w, "%s is empty now, revision %d\n", blobName(key), emptied.Revision)
				})
			})
		},
	}
}

// writeBlob reads the content that the second argument means, and has it written.
func (a *app) writeBlob(c *cobra.Command, args []string, write func(context.Context, *client.Client, wire.BlobKey, []byte) (wire.BlobWritten, error)) error {
	file := "-"
	if len(args) > 1 {
		file = args[1]
	}
	return a.onBlob(c, args[0], func(ctx context.Context, bus *client.Client, key wire.BlobKey) error {
		data, err := a.read(ctx, file, wire.MaxBlob)
		if err != nil {
			return err
		}
		written, err := write(ctx, bus, key, data)
		if err != nil {
			return err
		}
		return a.print(written, func(w io.Writer) {
			fmt.Fprintf(w, "%s has %s now, revision %d\n", blobName(key), size(written.Size), written.Revision)
		})
	})
}

// read gives the content of a file, or of standard input for "-": at most so many bytes. What a person types ends with
// ctx too.
func (a *app) read(ctx context.Context, file string, most int64) ([]byte, error) {
	in := a.In
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close() //nolint:errcheck // it was only read
		in = f
	} else if file = "standard input"; typed(in) {
		fmt.Fprintln(a.Err, "hint: reading what you type; Ctrl-D at the beginning of a line ends it")
	}
	var data []byte
	var err error
	done := make(chan struct{})
	go func() { // a terminal cannot be told to stop reading
		defer close(done)
		data, err = io.ReadAll(io.LimitReader(in, most+1))
	}()
	select {
	case <-done:
	case <-ctx.Done():
		return nil, fmt.Errorf("read %s: %w", file, context.Cause(ctx))
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", file, err)
	case int64(len(data)) <= most:
		return data, nil
	}
	return nil, wire.Errorf(wire.CodeTooLarge, "%s has more than %s, which is the most that is taken", file, size(most))
}

// typed reports whether a person at a terminal is on the other side.
func typed(in io.Reader) bool {
	f, ok := in.(interface{ Stat() (fs.FileInfo, error) })
	if !ok {
		return false
	}
	is, err := f.Stat()
	null, nullErr := os.Stat(os.DevNull)
	return err == nil && nullErr == nil && is.Mode()&fs.ModeCharDevice != 0 && !os.SameFile(is, null)
}
