package daemon

import (
	"errors"

	"muster/bus"
	"muster/wire"
)

// serve binds every endpoint of the protocol to the method that answers it.
func (d *Daemon) serve() error {
	b := d.bus
	return errors.Join(
		bus.Handle(b, wire.StateGet, d.machine.Get),
		bus.Handle(b, wire.StateRequest, d.machine.Request),
		bus.Handle(b, wire.StateResume, d.machine.Resume),
		bus.Handle(b, wire.StateAbort, d.machine.Abort),
		bus.Handle(b, wire.StateHistory, d.timeline.History),

		bus.Handle(b, wire.NotifierRegister, d.machine.Register),
		bus.Handle(b, wire.NotifierUnregister, d.machine.Unregister),
		bus.Handle(b, wire.NotifierList, d.machine.List),

		bus.Handle(b, wire.LoopBook, d.loops.Book),
		bus.Handle(b, wire.LoopList, d.loops.List),
		bus.Handle(b, wire.LoopCancel, d.loops.Cancel),
		bus.Handle(b, wire.LoopOffer, d.loops.Offer),

		bus.Handle(b, wire.OpList, d.operations.List),
		bus.Handle(b, wire.OpSetClock, d.operations.SetClock),
		bus.Handle(b, wire.OpReboot, d.operations.Reboot),
		bus.Handle(b, wire.OpCaptivePortal, d.operations.CaptivePortal),

		bus.Handle(b, wire.BlobGet, d.blobs.Get),
		bus.Handle(b, wire.BlobSize, d.blobs.Size),
		bus.Handle(b, wire.BlobSet, d.blobs.Set),
		bus.Handle(b, wire.BlobAppend, d.blobs.Append),
		bus.Handle(b, wire.BlobEmpty, d.blobs.Empty),
		bus.Handle(b, wire.BlobList, d.blobs.List),

		bus.Handle(b, wire.AccessWho, b.Who),
		bus.Handle(b, wire.AccessCan, b.Can),
		bus.Handle(b, wire.AccessTicket, b.Ticket),
	)
}
