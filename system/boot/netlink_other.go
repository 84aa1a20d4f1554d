//go:build !linux

package boot

import (
	"context"
	"errors"
	"fmt"
	"runtime"
)

// Netlink hears of the network on Linux only.
type Netlink struct{}

// Watch implements [NetworkSource].
func (Netlink) Watch(context.Context, func([]Fact)) error {
	return fmt.Errorf("listen to the network of %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
