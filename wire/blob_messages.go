package wire

// BlobKey names a blob in a subject.
type BlobKey struct {
	Name  string `json:"-" path:"name"`
	Index int    `json:"-" path:"index"`
}

// BlobRange asks for a blob, or for a part of it.
type BlobRange struct {
	BlobKey
	Offset int64  `json:"offset,omitempty"` // of the part's first byte
	Length *int64 `json:"length,omitempty"` // absent means to the end; more than there is means to the end
}

// BlobPart answers blob.get.
type BlobPart struct {
	Data     []byte `json:"data"`
	Offset   int64  `json:"offset"`
	Size     int64  `json:"size"` // of the whole blob
	Revision uint64 `json:"revision"`
	Source   Source `json:"source"`
}

// Source says where a blob's content is from.
type Source string

// The sources.
const (
	SourceKV      Source = "kv"      // the bucket
	SourceDirect  Source = "direct"  // memory of the daemon's process, read-only on the bus
	SourceDefault Source = "default" // built in, because nothing was set
)

// BlobMeta answers blob.size.
type BlobMeta struct {
	Size     int64  `json:"size"`
	Revision uint64 `json:"revision"`
	Source   Source `json:"source"`
}

// BlobWrite replaces a blob's content.
type BlobWrite struct {
	BlobKey
	Data     []byte  `json:"data" wire:"required"`
	Revision *uint64 `json:"revision,omitempty"` // only if this is the current one; 0 means that there is none yet
}

// BlobTail is added to a blob's end.
type BlobTail struct {
	BlobKey
	Data []byte `json:"data" wire:"required"`
}

// BlobWritten answers blob.set and blob.append.
type BlobWritten struct {
	Size     int64  `json:"size"`
	Revision uint64 `json:"revision"`
}

// BlobEmptied answers blob.empty.
type BlobEmptied struct {
	Revision uint64 `json:"revision"`
}

// Blobs answers blob.list.
type Blobs struct {
	Blobs []BlobView `json:"blobs"` // by name, then index
}

// BlobView is one blob as a listing shows it: never its content.
type BlobView struct {
	Name     string `json:"name"`
	Index    int    `json:"index"`
	Size     int64  `json:"size"`
	Revision uint64 `json:"revision"`
	Source   Source `json:"source"`
	Secret   bool   `json:"secret"`
}

// BlobEvent says that a blob changed: sys.blob.<name>.<index>.
type BlobEvent struct {
	Stamp
	Revision uint64 `json:"revision"`
	Size     int64  `json:"size"`
}

// Check holds the values against the protocol's limits.
func (r BlobRange) Check() error {
	if r.Offset < 0 {
		return Malformed("offset is %d; 0 or more would be right", r.Offset)
	}
	if r.Length != nil && *r.Length < 0 {
		return Malformed("length is %d; 0 or more would be right", *r.Length)
	}
	return nil
}
