package version

import (
	"testing"
	"time"
)

func TestMade(t *testing.T) {
	defer func(before string) { made = before }(made)
	made = "2026-11-24T21:31:00Z"
	if got := Made(); !got.Equal(time.Date(2026, 11, 24, 21, 31, 0, 0, time.UTC)) {
		t.Errorf("made %v", got)
	}
	if made = "yesterday"; !Made().IsZero() {
		t.Errorf("made %v, of what is no time", Made())
	}
}
