package blobs

import (
	"strconv"
	"strings"

	"muster/wire"
)

// lookup finds what is known of a blob, or says what there is.
func lookup(k wire.BlobKey) (wire.BlobName, error) {
	known, ok := wire.KnownBlob(k.Name)
	if !ok {
		list := append(wire.BlobNames(), wire.UserBlobPrefix+"<anything>")
		return known, wire.NotFound("there is no blob %s; there are %s", k.Name, strings.Join(list, ", ")).With("known", list)
	}
	if k.Index < 0 || k.Index >= known.Indexes {
		return known, wire.NotFound("blob %s has no index %d; 0 to %d would be right", k.Name, k.Index, known.Indexes-1)
	}
	return known, nil
}

// keyOf names a blob in the bucket: "auth.1".
func keyOf(k wire.BlobKey) string { return k.Name + "." + strconv.Itoa(k.Index) }

// parseKey reads a key of the bucket; one that is no blob's is not ours.
func parseKey(key string) (wire.BlobKey, bool) {
	name, index, ok := strings.Cut(key, ".")
	n, err := strconv.Atoi(index)
	k := wire.BlobKey{Name: name, Index: n}
	if !ok || err != nil || wire.CheckName("blob", name) != nil {
		return k, false
	}
	_, err = lookup(k)
	return k, err == nil && keyOf(k) == key
}
