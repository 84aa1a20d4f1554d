package system

import "errors"

// ErrGone says that a participant is not connected, or stopped being so while it was asked.
var ErrGone = errors.New("not connected")
