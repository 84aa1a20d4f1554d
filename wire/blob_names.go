package wire

import (
	"slices"
	"strings"
)

// BlobName is what the protocol knows of a blob's name.
type BlobName struct {
	Indexes int
	Secret  bool   // its content is shown to those only who have the right to read this very blob
	Initial string // what stands there as long as nothing is set
}

// UserBlobPrefix begins the names that are the users' own.
const UserBlobPrefix = "user-"

// blobNames are those of lws_system's blobs.
var blobNames = map[string]BlobName{
	"auth":              {Indexes: 2, Secret: true}, // registration token, auth token
	"client-cert-der":   {Indexes: 1},
	"client-key-der":    {Indexes: 1, Secret: true},
	"device-serial":     {Indexes: 1},
	"device-fw-version": {Indexes: 1},
	"device-type":       {Indexes: 1},
	"ntp-server":        {Indexes: 1, Initial: "pool.ntp.org"},
	"mqtt-client-id":    {Indexes: 1},
	"mqtt-username":     {Indexes: 1},
	"mqtt-password":     {Indexes: 1, Secret: true},
	"ext-auth1":         {Indexes: 2, Secret: true},
	"ext-auth2":         {Indexes: 2, Secret: true},
	"ext-auth3":         {Indexes: 2, Secret: true},
	"ext-auth4":         {Indexes: 2, Secret: true},
}

// BlobNames lists the names that the protocol gives, sorted; besides them there are those of the users.
func BlobNames() []string {
	names := make([]string, 0, len(blobNames))
	for name := range blobNames {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// SecretBlobs lists the names of the blobs that are secret, sorted.
func SecretBlobs() []string {
	return slices.DeleteFunc(BlobNames(), func(name string) bool { return !blobNames[name].Secret })
}

// KnownBlob tells what is known of a name; false for one that no blob can have.
func KnownBlob(name string) (BlobName, bool) {
	if known, ok := blobNames[name]; ok {
		return known, true
	}
	if strings.HasPrefix(name, UserBlobPrefix) && len(name) > len(UserBlobPrefix) {
		return BlobName{Indexes: 1}, true
	}
	return BlobName{}, false
}
