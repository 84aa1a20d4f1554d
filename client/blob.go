package client

import (
	"context"
	"iter"

	"muster/wire"
)

// Blob is one of the device's named byte blobs.
type Blob struct {
	client *Client
	key    wire.BlobKey
}

// Blob names a blob by its name and index, of which most have only 0. Whether there is one shows when it is used.
func (c *Client) Blob(name string, index int) Blob {
	return Blob{c, wire.BlobKey{Name: name, Index: index}}
}

// Blobs lists every blob there is, without its content.
func (c *Client) Blobs(ctx context.Context) ([]wire.BlobView, error) {
	list, err := Call(ctx, c, wire.BlobList, wire.Empty{})
	return list.Blobs, err
}

// Get reads the whole blob, and the revision that it is at. One that was never set is empty, at revision 0.
func (b Blob) Get(ctx context.Context) (data []byte, revision uint64, err error) {
	part, err := Call(ctx, b.client, wire.BlobGet, wire.BlobRange{BlobKey: b.key})
	return part.Data, part.Revision, err
}

// Read reads up to length bytes from an offset on. An offset at or past the end is a 400.
func (b Blob) Read(ctx context.Context, offset, length int64) (wire.BlobPart, error) {
	return Call(ctx, b.client, wire.BlobGet, wire.BlobRange{BlobKey: b.key, Offset: offset, Length: &length})
}

// Size tells the blob's size without reading it.
func (b Blob) Size(ctx context.Context) (wire.BlobMeta, error) {
	return Call(ctx, b.client, wire.BlobSize, b.key)
}

// Set replaces the content. When it returns, the new one is on disk.
func (b Blob) Set(ctx context.Context, data []byte) (revision uint64, err error) {
	written, err := Call(ctx, b.client, wire.BlobSet, wire.BlobWrite{BlobKey: b.key, Data: data})
	return written.Revision, err
}

// CompareAndSet replaces the content if the blob is at that revision still, 0 meaning that nothing was set yet;
// otherwise it is a 409.
func (b Blob) CompareAndSet(ctx context.Context, data []byte, at uint64) (revision uint64, err error) {
	written, err := Call(ctx, b.client, wire.BlobSet, wire.BlobWrite{BlobKey: b.key, Data: data, Revision: &at})
	return written.Revision, err
}

// Append adds to the end, atomically against other writers.
func (b Blob) Append(ctx context.Context, data []byte) (wire.BlobWritten, error) {
	return Call(ctx, b.client, wire.BlobAppend, wire.BlobTail{BlobKey: b.key, Data: data})
}

// Empty takes the content away.
func (b Blob) Empty(ctx context.Context) (revision uint64, err error) {
	emptied, err := Call(ctx, b.client, wire.BlobEmpty, b.key)
	return emptied.Revision, err
}

// Watch tells of each change; see [Events].
func (b Blob) Watch(ctx context.Context) iter.Seq2[wire.BlobEvent, error] {
	return Events[wire.BlobEvent](ctx, b.client, wire.BlobTopic(b.key))
}
