//go:build !linux

package linux

import (
	"errors"
	"io/fs"
	"os"
	"time"
)

// OpenTimer is only there on Linux.
func OpenTimer(string, time.Duration, func(string, int, fs.FileMode) (*os.File, error)) (Timer, error) {
	return nil, errors.ErrUnsupported
}
