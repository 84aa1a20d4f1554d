package bus

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"sync"

	"github.com/nats-io/nats.go/jetstream"
)

// makeAhead makes the bucket and the queue of an empty store while the rest of the bus is put together: each waits for
// the disk eight times, and the server makes the streams that one connection wants in turn, so each has one of its
// own. wait returns when both are made. What goes wrong is told by [Bus.Bucket] and [Bus.Queue], which try again.
func (b *Bus) makeAhead() (wait func()) {
	var both sync.WaitGroup
	both.Go(func() {
		b.ahead(bucketStream, func(ctx context.Context, js jetstream.JetStream) { _, _ = js.CreateKeyValue(ctx, b.bucketConfig()) })
	})
	both.Go(func() {
		b.ahead(queueStream, func(ctx context.Context, js jetstream.JetStream) { _, _ = js.CreateStream(ctx, b.queueConfig()) })
	})
	return both.Wait
}

// ahead runs create on a connection of its own, if there is nothing of the stream yet.
func (b *Bus) ahead(stream string, create func(context.Context, jetstream.JetStream)) {
	if _, err := os.Stat(b.folderOf(stream)); !errors.Is(err, fs.ErrNotExist) {
		return
	}
	nc, err := b.connect(ownUser)
	if err != nil {
		return
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(b.ctx, setupBudget)
	defer cancel()
	create(ctx, js)
}
