package boot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"muster/system/boot/policy"
)

// PolicyFile is a policy in a file that nobody but root and the daemon's own user can change. It is looked at every few seconds, and
// read when it is another.
type PolicyFile struct {
	Path  string          // its end says its format
	Again <-chan struct{} // has it read at once; may be nil
}

// lookAtFile is between two looks at the file.
const lookAtFile = 5 * time.Second

// Watch implements [PolicySource].
func (f PolicyFile) Watch(ctx context.Context, tell func(PolicyText, error)) error {
	ticks := time.NewTicker(lookAtFile)
	defer ticks.Stop()
	var known fs.FileInfo
	var said string // what was wrong
	for first := true; ; first = false {
		again := first
		if !first {
			select {
			case <-ctx.Done():
				return nil
			case <-f.Again:
				again = true
			case <-ticks.C:
			}
		}
		info, _ := os.Lstat(f.Path) // what is wrong with it, reading tells
		if !again && said == "" && same(known, info) {
			continue
		}
		text, err := f.read()
		if err == nil {
			known, said = info, ""
			tell(text, nil)
		} else if again || err.Error() != said {
			known, said = nil, err.Error()
			tell(PolicyText{}, err)
		}
	}
}

// same reports whether a file seems unchanged.
func same(a, b fs.FileInfo) bool {
	return a != nil && b != nil && os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && a.Mode() == b.Mode()
}

// read reads the file.
func (f PolicyFile) read() (text PolicyText, err error) {
	text.Origin = f.Path
	if text.Format, err = policy.FormatOf(f.Path); err != nil {
		return text, err
	}
	err = trustedFile(f.Path, os.Geteuid())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return text, fmt.Errorf("there is no policy at %s", f.Path)
	case err != nil:
		return text, fmt.Errorf("the policy is not read: %w", err)
	}
	if text.Text, err = readBounded(f.Path, policy.MaxSize); err != nil {
		return text, fmt.Errorf("the policy cannot be read: %w", err)
	}
	return text, nil
}

// readBounded reads a file of at most that many bytes.
func readBounded(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if int64(len(text)) > most {
		return nil, fmt.Errorf("%s has more than %d bytes", path, most)
	}
	return text, nil
}
