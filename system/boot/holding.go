package boot

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"muster/wire"
)

// refresh is after how long a holder is asked again whose reason tells how far it is.
const refresh = 10 * time.Second

// holding is how a part answers that waits for one thing.
type holding struct {
	patience patience
	gaveUp   bool
}

// answer accepts when the thing is there, or when the patience is over, of which giveUp is told once. Else it defers, and has
// itself asked again so that the reason stays true.
func (h *holding) answer(q wire.Question, there bool, reason func() string, giveUp func(reason string)) wire.Answer {
	switch {
	case there || h.gaveUp:
		return accepted
	case q.DryRun:
		return deferred(reason())
	}
	left, over := h.patience.wait()
	switch {
	case over:
		h.gaveUp = true
		giveUp(reason())
		return accepted
	case left > 0:
		return deferredFor(reason(), min(left, refresh))
	}
	return deferredFor(reason(), refresh)
}

// over notes that the thing is there: when it is lost, there is patience again.
func (h *holding) over() { h.patience.since, h.gaveUp = time.Time{}, false }

// putBlob writes a blob, unless that is what it has.
func putBlob(ctx context.Context, blobs Blobs, key wire.BlobKey, data []byte) error {
	part, err := blobs.Get(ctx, wire.Internal, wire.BlobRange{BlobKey: key})
	if err == nil && part.Source != wire.SourceDefault && bytes.Equal(part.Data, data) {
		return nil
	}
	if _, err := blobs.Set(ctx, wire.Internal, wire.BlobWrite{BlobKey: key, Data: data}); err != nil {
		return fmt.Errorf("the blob %s.%d cannot be written: %w", key.Name, key.Index, err)
	}
	return nil
}
