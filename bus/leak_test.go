package bus_test

import (
	"testing"

	"go.uber.org/goleak"
)

// TestMain sees that a closed bus leaves nothing behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
