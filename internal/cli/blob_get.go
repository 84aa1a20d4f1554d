package cli

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"muster/client"
	"muster/wire"
)

func (a *app) blobGetCommand() *cobra.Command {
	var raw bool
	var offset, length int64
	c := &cobra.Command{
		Use:   "get NAME[.INDEX]",
		Short: "Show a blob's content",
		Long: `Show a blob's content: text as it is, with a line break at its end, and anything else in
hexadecimal, so that it cannot upset a terminal. With --raw its bytes are written as they are.`,
		Example:           "  muster blob get device-serial\n  muster blob get client-cert-der --raw > cert.der\n  muster blob get user-log --offset 4096 --length 512",
		Args:              asUsed,
		ValidArgsFunction: a.completeBlobs,
		RunE: func(c *cobra.Command, args []string) error {
			if raw && a.output == "json" {
				return misused(c, "--raw and --output json exclude each other: JSON has the bytes as base64")
			}
			return a.onBlob(c, args[0], func(ctx context.Context, bus *client.Client, key wire.BlobKey) error {
				want := wire.BlobRange{BlobKey: key, Offset: offset}
				if c.Flags().Changed("length") {
					want.Length = &length
				}
				part, err := client.Call(ctx, bus, wire.BlobGet, want)
				if err != nil {
					return err
				}
				return a.showBlob(key, part, raw)
			})
		},
	}
	c.Flags().BoolVar(&raw, "raw", false, "write the bytes as they are")
	c.Flags().Int64Var(&offset, "offset", 0, "begin at this `BYTE`")
	c.Flags().Int64Var(&length, "length", 0, "show at most so many `BYTES` (default to the end)")
	for _, flag := range []string{"offset", "length"} {
		completeFlag(c, flag, cobra.NoFileCompletions)
	}
	return c
}

func (a *app) showBlob(key wire.BlobKey, part wire.BlobPart, raw bool) error {
	switch {
	case raw:
		_, err := a.Out.Write(part.Data)
		return err
	case a.output == "text" && part.Size == 0:
		fmt.Fprintf(a.Err, "hint: %s is empty, revision %d\n", blobName(key), part.Revision)
		return nil
	}
	return a.print(part, func(w io.Writer) {
		if len(part.Data) == 0 {
			return
		}
		if isText(part.Data) {
			fmt.Fprintln(w, strings.TrimSuffix(string(part.Data), "\n"))
			return
		}
		writeHex(w, part.Data, part.Offset)
		fmt.Fprintln(a.Err, "hint: this is not text; --raw writes the bytes as they are")
	})
}

// writeHex shows bytes in hexadecimal, 16 a line, each line with where it stands in the whole.
func writeHex(w io.Writer, data []byte, offset int64) {
	for line := range strings.Lines(hex.Dump(data)) {
		fmt.Fprintf(w, "%08x%s", offset, line[8:])
		offset += 16
	}
}

// isText reports whether a terminal shows the bytes and is not moved by them.
func isText(data []byte) bool {
	text := strings.ReplaceAll(string(data), "\r\n", "\n")
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(c rune) bool {
		return !unicode.IsPrint(c) && c != '\n' && c != '\t'
	})
}
