package linux

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"muster/wire"
)

// Host is the kernel that this process runs on.
type Host struct{}

// May implements [Kernel].
func (Host) May(capability int) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}
	return data[capability/32].Effective&(1<<(capability%32)) != 0
}

// Step implements [Kernel].
func (Host) Step(to time.Time) error {
	ts, err := unix.TimeToTimespec(to)
	if err != nil {
		return fmt.Errorf("%s is beyond this kernel's clock: %w", to.UTC().Format(time.RFC3339), err)
	}
	return unix.ClockSettime(unix.CLOCK_REALTIME, &ts)
}

// Slew implements [Kernel]. It takes the place of a slew that still runs.
func (Host) Slew(by time.Duration) error {
	change := unix.Timex{Modes: unix.ADJ_OFFSET_SINGLESHOT}
	put(&change.Offset, by.Microseconds())
	_, err := unix.Adjtimex(&change)
	return err
}

// put writes a number into a field that has 32 bits on some machines and 64 on others.
func put[T int32 | int64](field *T, n int64) { *field = T(n) }

// GoDown implements [Kernel].
func (Host) GoDown(mode wire.RebootMode) error {
	how := uint32(unix.LINUX_REBOOT_CMD_RESTART)
	switch mode {
	case wire.ModeHalt:
		how = unix.LINUX_REBOOT_CMD_HALT
	case wire.ModePoweroff:
		how = unix.LINUX_REBOOT_CMD_POWER_OFF
	case wire.ModeReboot:
	}
	unix.Sync()
	return unix.Reboot(int(how))
}
