package blobs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"muster/wire"
)

// Store is the bucket: raw bytes by key, a revision for each write.
type Store interface {
	// Get gives the last record of a key; [ErrNoRecord] where there never was one.
	Get(ctx context.Context, key string) (Record, error)
	// Put writes when the key's last revision is expect (0: there is none), and returns once it is on disk. Otherwise
	// it is [ErrStale].
	Put(ctx context.Context, key string, value []byte, digest string, expect uint64) (revision uint64, err error)
	// Keys lists the keys that have a value.
	Keys(ctx context.Context) ([]string, error)
	// Reset makes the bucket anew and empty, with revisions above the one given: a damaged store takes no writes over
	// what it cannot read.
	Reset(ctx context.Context, above uint64) error
	// LastRevision is that of the newest write to any key.
	LastRevision(ctx context.Context) (uint64, error)
}

// Record is what stands in the bucket.
type Record struct {
	Value    []byte
	Digest   string // "" if another client put it there
	Revision uint64
	Deleted  bool // a marker that a client deleted it
}

// The errors of a [Store] that are answers.
var (
	ErrNoRecord = errors.New("no record")
	ErrStale    = errors.New("stale revision")
)

// Snapshots keeps the second copy of each blob: small files that are whole or known to be damaged.
type Snapshots interface {
	Save(name string, data []byte) error
	// Draft makes room for a file of about that content. The old one stands until commit, and after discard.
	Draft(name string, data []byte) (commit func(data []byte) error, discard func() error, err error)
	Load(name string) ([]byte, error) // fs.ErrNotExist where there is none
	List() ([]string, error)
	Remove(name string) error
}

// snapshot is a blob's second copy.
type snapshot struct {
	Value    []byte `json:"value"`
	Revision uint64 `json:"revision"`
}

func (s snapshot) encode() ([]byte, error) { return wire.Encode(s) }

func decodeSnapshot(data []byte) (s snapshot, err error) {
	err = wire.Decode(data, &s)
	return s, err
}

// digestOf is what a value's header says of it.
func digestOf(value []byte) string {
	sum := sha256.Sum256(value)
	return "sha256:" + hex.EncodeToString(sum[:])
}
