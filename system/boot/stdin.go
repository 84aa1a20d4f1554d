package boot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"muster/system"
	"muster/wire"
)

// Stdin reads a secret from standard input into a blob, where neither the command line nor the environment shows it, and
// holds COLLECTING_STDIN until the blob has it. The bytes are kept as they come, a newline at their end included.
type Stdin struct {
	in   io.Reader
	into wire.BlobKey
	opts StdinOptions

	mu    sync.Mutex
	size  int
	done  bool
	fault string // why nothing can be kept, for now or for good
	hold  holding
}

// StdinOptions are the surroundings of a Stdin. Store and Gate are required; other zero values work.
type StdinOptions struct {
	Store    Store         //
	Gate     Gate          //
	Patience time.Duration // after which the device goes on without the secret; 0: never
	Log      *slog.Logger
}

// Store keeps blobs.
type Store interface {
	Set(ctx context.Context, caller wire.Caller, w wire.BlobWrite) (wire.BlobWritten, error)
}

const stdinName = "stdin"

// NewStdin makes a part that reads in to its end, once.
func NewStdin(in io.Reader, into wire.BlobKey, opts StdinOptions) *Stdin {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	return &Stdin{in: in, into: into, opts: opts, hold: holding{patience: patience{limit: opts.Patience}}}
}

// Notifier implements [Part].
func (s *Stdin) Notifier() system.Notifier {
	return system.Notifier{
		Name: stdinName, States: []wire.State{wire.CollectingStdin}, Ask: s.ask,
		About: fmt.Sprintf("reads standard input into the blob %s.%d", s.into.Name, s.into.Index),
	}
}

// ask holds until the blob has what was read.
func (s *Stdin) ask(_ context.Context, q wire.Question) wire.Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hold.answer(q, s.done, s.reason, func(reason string) {
		s.opts.Log.Error("standard input not waited for any longer; the blob stays as it is",
			"blob", s.into.Name, "patience", s.opts.Patience, "reason", reason)
	})
}

// reason says what is waited for.
func (s *Stdin) reason() string {
	switch {
	case s.fault != "":
		return s.fault
	case s.size > 0:
		return fmt.Sprintf("standard input has brought %d bytes and is not at its end", s.size)
	}
	return "nothing has come from standard input yet"
}

// Run implements [Part]. A reader cannot be told to stop: where standard input stays silent, a goroutine stays that reads
// it. When something comes of it after the device has gone on without, the blob gets it all the same.
func (s *Stdin) Run(ctx context.Context) error {
	read := make(chan []byte, 1)
	go func() { read <- s.read() }()
	var secret []byte
	select {
	case secret = <-read:
	case <-ctx.Done():
		return nil
	}
	if secret == nil {
		resume(ctx, s.opts.Gate, stdinName, s.opts.Log) // the reason is another
		return nil
	}
	defer clear(secret)
	for failures := 1; ; failures++ {
		_, err := s.opts.Store.Set(ctx, wire.Internal, wire.BlobWrite{BlobKey: s.into, Data: secret})
		s.kept(err)
		resume(ctx, s.opts.Gate, stdinName, s.opts.Log)
		if err == nil || !pause(ctx, backoff(failures)) {
			return nil
		}
	}
}

// read reads to the end; nil when nothing of it can be kept.
func (s *Stdin) read() []byte {
	secret := make([]byte, 0, 4096)
	for {
		if len(secret) == cap(secret) {
			longer := append(make([]byte, 0, 2*cap(secret)), secret...)
			clear(secret)
			secret = longer
		}
		n, err := s.in.Read(secret[len(secret):cap(secret)])
		secret = secret[:len(secret)+n]
		fault := ""
		switch {
		case len(secret) > wire.MaxBlob:
			fault = fmt.Sprintf("standard input has more than the %d bytes that a blob can hold", wire.MaxBlob)
		case errors.Is(err, io.EOF) && len(secret) == 0:
			fault = "standard input ended without a byte"
		case err != nil && !errors.Is(err, io.EOF):
			fault = withWords("standard input cannot be read", err.Error())
		}
		s.mu.Lock()
		s.size, s.fault = len(secret), fault
		s.mu.Unlock()
		switch {
		case fault != "":
			clear(secret)
			return nil
		case err != nil:
			return secret
		}
	}
}

// kept notes whether the blob has what was read.
func (s *Stdin) kept(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done, s.fault = err == nil, ""
	if err != nil {
		s.fault = withWords(fmt.Sprintf("standard input is read, and the blob %s.%d cannot be written", s.into.Name, s.into.Index), err.Error())
	}
}
