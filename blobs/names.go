package blobs

import (
	"slices"
	"strconv"
	"strings"

	"muster/wire"
)

// kind says what is known of a blob's name.
type kind struct {
	indexes int
	secret  bool
	initial string // what stands there as long as nothing is set
}

// names are those of lws_system's blobs; anything that begins with user- is the users' own.
var names = map[string]kind{
	"auth":              {indexes: 2, secret: true}, // registration token, auth token
	"client-cert-der":   {indexes: 1},
	"client-key-der":    {indexes: 1, secret: true},
	"device-serial":     {indexes: 1},
	"device-fw-version": {indexes: 1},
	"device-type":       {indexes: 1},
	"ntp-server":        {indexes: 1, initial: "pool.ntp.org"},
	"mqtt-client-id":    {indexes: 1},
	"mqtt-username":     {indexes: 1},
	"mqtt-password":     {indexes: 1, secret: true},
	"ext-auth1":         {indexes: 2, secret: true},
	"ext-auth2":         {indexes: 2, secret: true},
	"ext-auth3":         {indexes: 2, secret: true},
	"ext-auth4":         {indexes: 2, secret: true},
}

const userPrefix = "user-"

// lookup finds what is known of a blob, or says what there is.
func lookup(k wire.BlobKey) (kind, error) {
	known, ok := names[k.Name]
	if !ok && strings.HasPrefix(k.Name, userPrefix) && len(k.Name) > len(userPrefix) {
		known, ok = kind{indexes: 1}, true
	}
	if !ok {
		list := make([]string, 0, len(names)+1)
		for name := range names {
			list = append(list, name)
		}
		slices.Sort(list)
		list = append(list, userPrefix+"<anything>")
		return kind{}, wire.NotFound("there is no blob %s; there are %s", k.Name, strings.Join(list, ", ")).With("known", list)
	}
	if k.Index < 0 || k.Index >= known.indexes {
		return kind{}, wire.NotFound("blob %s has no index %d; 0 to %d would be right", k.Name, k.Index, known.indexes-1)
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
