//go:build !linux

package boot

import (
	"context"
	"errors"
	"fmt"
	"runtime"
)

// Processes runs programs on Linux only.
type Processes struct{}

// Run implements [Runner].
func (Processes) Run(_ context.Context, p Program) (Exit, error) {
	return Exit{}, fmt.Errorf("run %s on %s: %w", p.Path, runtime.GOOS, errors.ErrUnsupported)
}
