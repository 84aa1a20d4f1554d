package blobs

import (
	"strings"
	"sync"

	"muster/wire"
)

// held is one blob in memory. It stays as long as there is something, or somebody writes.
type held struct {
	turn sync.Mutex // of writers

	// Under Blobs.mu:
	content
	users int    // that write, or wait for their turn
	last  uint64 // revision of the last record in the bucket, a deletion included; 0 where there is none
}

// content is what a blob holds.
type content struct {
	value    []byte
	revision uint64
	source   wire.Source
	there    bool // it was set, and not deleted since
	damaged  bool // and there was no snapshot to restore it from
}

// put sets what the bucket has.
func (h *held) put(value []byte, revision uint64) {
	h.content = content{value: value, revision: revision, source: wire.SourceKV, there: true}
	h.last = revision
}

// deleted notes that a deletion is the last thing in the bucket.
func (h *held) deleted(revision uint64) {
	h.content = content{source: wire.SourceKV}
	h.last = revision
}

// hold gives the place of a blob, in memory if need be. Whoever has it must release it.
func (b *Blobs) hold(k wire.BlobKey) *held {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.holdLocked(k)
}

func (b *Blobs) holdLocked(k wire.BlobKey) *held {
	h := b.held[k]
	if h == nil {
		h = &held{content: content{source: wire.SourceKV}}
		b.held[k] = h
	}
	h.users++
	return h
}

// holdForWrite gives the place of a blob that may be written.
func (b *Blobs) holdForWrite(k wire.BlobKey) (*held, error) {
	if _, err := lookup(k); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	h := b.held[k]
	switch {
	case h == nil && strings.HasPrefix(k.Name, wire.UserBlobPrefix) && b.userBlobs() >= maxUserBlobs:
		return nil, wire.Errorf(wire.CodeTooMany, "there are %d blobs of users, which is as many as may be", maxUserBlobs)
	case h != nil && h.source == wire.SourceDirect:
		return nil, wire.Conflict("blob %s.%d is memory of the daemon's process and cannot be written", k.Name, k.Index)
	}
	return b.holdLocked(k), nil
}

// release lets go of a place, which is given up when there is nothing in it.
func (b *Blobs) release(k wire.BlobKey, h *held) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if h.users--; h.users == 0 && !h.there && !h.damaged && b.held[k] == h {
		delete(b.held, k)
	}
}

// look gives what a blob holds now, and its last revision in the bucket.
func (b *Blobs) look(h *held) (content, uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return h.content, h.last
}

func (b *Blobs) userBlobs() int {
	count := 0
	for k := range b.held {
		if strings.HasPrefix(k.Name, wire.UserBlobPrefix) {
			count++
		}
	}
	return count
}
