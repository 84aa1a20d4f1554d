package boot

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// dial is a clock that is played.
type dial struct {
	mu    sync.Mutex
	look  ClockLook
	fault error
	block chan struct{} // Look waits for it, if it is not nil
}

// Look implements ClockSource.
func (d *dial) Look() (ClockLook, error) {
	d.mu.Lock()
	block := d.block
	d.mu.Unlock()
	if block != nil {
		<-block
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.look, d.fault
}

func (d *dial) turn(look ClockLook, fault error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.look, d.fault = look, fault
}

var (
	made  = time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	today = made.AddDate(0, 1, 0)
)

// clocked boots a machine that observes that clock.
func clocked(t *testing.T, d *dial, falls bool) *rig {
	t.Helper()
	r := newRig(t)
	opts := ClockOptions{Source: d, Gate: r, Teller: r, Earliest: made, Patience: 2 * time.Minute}
	if falls {
		opts.FallBack = r
	}
	r.boot(NewClock(opts))
	return r
}

const (
	unsynchronised = "the clock is not synchronised, say the kernel, systemd-timesyncd and chrony,"
	byKernel       = "synchronised, says the kernel"
)

func TestClockBecomesValid(t *testing.T) {
	for by, valid := range map[string]ClockLook{
		byKernel:                               {Now: today, Kernel: true},
		"synchronised, says systemd-timesyncd": {Now: today, Timesyncd: true},
		"synchronised, says chrony":            {Now: today, Chrony: true},
	} {
		t.Run(by, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &dial{look: ClockLook{Now: today}}
				r := clocked(t, d, false)
				r.after(20*time.Second + time.Millisecond)
				r.wantStands("CPD_PRE_TIME; clock: " + unsynchronised + " since 20s")
				d.turn(valid, nil)
				r.soon()
				r.wantStands("OPERATIONAL")
				r.wantTold("sys.network.clock: unknown > invalid, "+unsynchronised, "sys.network.clock: invalid > valid, "+by)
			})
		})
	}
}

// TestClockFaults has a clock that cannot be believed: the device is held, is told why, and goes on without when its
// patience is over.
func TestClockFaults(t *testing.T) {
	for name, c := range map[string]struct {
		dial *dial
		want string
	}{
		"unsynchronised": {&dial{look: ClockLook{Now: today}}, unsynchronised},
		"lying": {
			&dial{look: ClockLook{Now: time.Unix(9, 0), Kernel: true, Timesyncd: true}},
			"the clock shows 1970-01-01T00:00:09Z, before this version was made (2026-11-24T00:00:00Z),",
		},
		"missing": {&dial{fault: os.NewSyscallError("adjtimex", syscall.ENOSYS)}, "the clock cannot be looked at: adjtimex: function not implemented"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := clocked(t, c.dial, true)
				r.after(2*time.Minute - time.Millisecond)
				r.wantStands("CPD_PRE_TIME; clock: " + c.want + " since 1m50s")
				r.soon()
				r.soon()
				r.wantStands("OPERATIONAL")
				r.wantTold("sys.network.clock: unknown > invalid, "+c.want,
					"sys.network.clock: invalid > invalid, "+c.want+" since 2m0s; the device goes on without the time (degraded)")
			})
		})
	}
}

// TestClockSlow has a clock that takes for ever to look at: the answer comes at once all the same.
func TestClockSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &dial{look: ClockLook{Now: today, Kernel: true}, block: make(chan struct{})}
		r := clocked(t, d, false)
		r.after(time.Minute)
		r.wantStands("CPD_PRE_TIME; clock: the clock has not been looked at yet")
		close(d.block)
		r.soon()
		r.wantStands("OPERATIONAL")
	})
}

// TestClockLost loses the time again and again. Without being told to fall back the device stays, and with it waits anew.
func TestClockLost(t *testing.T) {
	for _, falls := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			d := &dial{look: ClockLook{Now: today, Kernel: true}}
			r := clocked(t, d, falls)
			r.wantStands("OPERATIONAL")
			r.wantTold("sys.network.clock: unknown > valid, " + byKernel)
			for range 3 {
				d.turn(ClockLook{Now: today}, nil)
				r.after(lookLater)
				if falls {
					r.wantStands("CPD_PRE_TIME; clock: " + unsynchronised + " since 0s")
				} else {
					r.wantStands("OPERATIONAL")
				}
				d.turn(ClockLook{Now: today, Kernel: true}, nil)
				r.soon()
				r.wantStands("OPERATIONAL")
				r.wantTold("sys.network.clock: valid > invalid, "+unsynchronised, "sys.network.clock: invalid > valid, "+byKernel)
			}
		})
	}
}

// TestClockLostMeanwhile loses the time where no fall back is possible: the device falls back when it is.
func TestClockLostMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &dial{look: ClockLook{Now: today, Kernel: true}}
		r := clocked(t, d, true)
		r.soon()
		r.wantStands("OPERATIONAL")
		r.update()
		d.turn(ClockLook{}, errors.New("adjtimex: not now"))
		r.after(45 * time.Second)
		r.wantStands("AWAITING_MODAL_UPDATING")
		r.after(time.Minute)
		r.wantHeld("CPD_PRE_TIME; clock: the clock cannot be looked at: adjtimex: not now since ")
		d.turn(ClockLook{Now: today, Kernel: true}, nil)
		r.after(2 * time.Second)
		r.wantStands("OPERATIONAL")
	})
}

// TestKernelClock looks at the clock of this machine, whatever it says.
func TestKernelClock(t *testing.T) {
	before := time.Now()
	look, err := KernelClock{}.Look()
	if err != nil {
		t.Fatal(err)
	}
	if look.Now.Before(before) || look.Now.After(time.Now()) {
		t.Errorf("the clock shows %v, which is not now", look.Now)
	}
}
