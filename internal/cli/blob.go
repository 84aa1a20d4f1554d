package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"muster/client"
	"muster/wire"
)

func (a *app) blobCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:     "blob",
		GroupID: "parts",
		Short:   "The device's named blobs: serial number, keys, tokens",
		Long: `The device's named byte blobs: its serial number, keys, tokens, whatever its processes keep.

A blob is named NAME, or NAME.INDEX where there are several; index 0 is meant where none is said.
The names are lws's, and user-<anything>. Content comes from a file or from standard input, never
from the command line, where every process of the device could read it.`,
	}, a.blobListCommand(), a.blobGetCommand(), a.blobSetCommand(), a.blobAppendCommand(), a.blobEmptyCommand())
}

func (a *app) blobListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "Every blob there is, without its content",
		Args:  asUsed,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.with(c.Context(), func(ctx context.Context, bus *client.Client) error {
				list, err := client.Call(ctx, bus, wire.BlobList, wire.Empty{})
				if err != nil {
					return err
				}
				return a.print(list, func(w io.Writer) { writeBlobs(w, list.Blobs) })
			})
		},
	}
}

func writeBlobs(w io.Writer, blobs []wire.BlobView) {
	var rows [][]string
	for _, b := range blobs {
		secret := ""
		if b.Secret {
			secret = "secret"
		}
		key := wire.BlobKey{Name: b.Name, Index: b.Index}
		rows = append(rows, []string{blobName(key), size(b.Size), strconv.FormatUint(b.Revision, 10), string(b.Source), secret})
	}
	table(w, []string{"NAME", "SIZE", "REVISION", "SOURCE"}, rows)
}

// blobName is how people write a blob's key.
func blobName(k wire.BlobKey) string { return k.Name + "." + strconv.Itoa(k.Index) }

// blobKey reads NAME or NAME.INDEX.
func blobKey(c *cobra.Command, text string) (wire.BlobKey, error) {
	k := wire.BlobKey{Name: text}
	if name, index, indexed := strings.Cut(text, "."); indexed {
		n, err := strconv.ParseUint(index, 10, 16)
		if err != nil {
			return k, misused(c, "the index in %q is %q; a number such as 0 would be right", text, index)
		}
		k = wire.BlobKey{Name: name, Index: int(n)}
	}
	if err := wire.CheckName("blob", k.Name); err != nil {
		return k, misused(c, "%s", wire.AsError(err).Message)
	}
	return k, nil
}

// onBlob works on the blob that the first argument names.
func (a *app) onBlob(c *cobra.Command, name string, work func(context.Context, *client.Client, wire.BlobKey) error) error {
	key, err := blobKey(c, name)
	if err != nil {
		return err
	}
	return a.with(c.Context(), func(ctx context.Context, bus *client.Client) error {
		err := work(ctx, bus, key)
		if _, known := wire.KnownBlob(key.Name); !known && errors.Is(err, &wire.Error{Code: wire.CodeNotFound}) {
			nearest := wire.Nearest(key.Name, append(wire.BlobNames(), wire.UserBlobPrefix+key.Name))
			err = hinted{err, fmt.Sprintf("the nearest name is %s; one of your own begins with %s", nearest, wire.UserBlobPrefix)}
		}
		return err
	})
}

// completeWrite offers blobs, and then files.
func (a *app) completeWrite(c *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) == 1 {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return a.completeBlobs(c, args, typed)
}

// completeBlobs offers the blobs that there are and the names that there may be.
func (a *app) completeBlobs(c *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var offers []cobra.Completion
	for _, key := range a.blobKeys(c.Context()) {
		known, _ := wire.KnownBlob(key.Name)
		if name := key.Name; known.Indexes == 1 && !strings.Contains(typed, ".") {
			offers = append(offers, name)
		} else {
			offers = append(offers, blobName(key))
		}
	}
	return offers, cobra.ShellCompDirectiveNoFileComp
}

// blobKeys lists the keys of the protocol, and those of the users that are there.
func (a *app) blobKeys(ctx context.Context) []wire.BlobKey {
	var keys []wire.BlobKey
	for _, name := range wire.BlobNames() {
		known, _ := wire.KnownBlob(name)
		for i := range known.Indexes {
			keys = append(keys, wire.BlobKey{Name: name, Index: i})
		}
	}
	a.offer(ctx, func(ctx context.Context, bus *client.Client) {
		list, _ := bus.Blobs(ctx) // without a daemon there are only the names of the protocol
		for _, b := range list {
			if k := (wire.BlobKey{Name: b.Name, Index: b.Index}); !slices.Contains(keys, k) {
				keys = append(keys, k)
			}
		}
	})
	return keys
}
