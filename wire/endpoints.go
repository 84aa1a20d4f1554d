package wire

import (
	"reflect"
	"slices"
)

// The endpoints, in the order of the protocol's sections. [Endpoints] lists them.
var (
	StateGet = reads[Empty, StateView]("sys.api.state.get", "state:read",
		"Where the system is, where it is going, and what holds it.")
	StateRequest = waits[StateWish, StateOutcome]("sys.api.state.request", "state:request",
		"Wish for a state; answered when it is reached, held, or out of time.")
	StateResume = changes[Resume, Resumed]("sys.api.state.resume.<notifier>", "notifier:<notifier>",
		"A holder lets go: its part of the next round is due.")
	StateAbort = changes[Abort, Aborted]("sys.api.state.abort", "state:request",
		"End the running transition: one's own wish, another's with state:override.")
	StateHistory = reads[HistoryQuery, History]("sys.api.state.history", "state:read",
		"The timeline of this boot, or of one of the last sixteen.")

	NotifierRegister = aside(changes[Registration, Joined]("sys.api.notifier.register.<name>", "notifier:<name>",
		"Take part in transitions; subscribe to sys.notify.<name> first."))
	NotifierUnregister = changes[NotifierName, Empty]("sys.api.notifier.unregister.<name>", "notifier:<name>",
		"Take part no longer; a remembered required notifier is forgotten.")
	NotifierList = reads[Empty, Notifiers]("sys.api.notifier.list", "state:read",
		"Every registered or required notifier with its counts.")

	LoopBook = changes[Booking, Booked]("sys.loop.<n>", "loop:book",
		"Book a call on event loop n; answered at once with its id and position.")
	LoopList = reads[Empty, Loops]("sys.api.loop.list", "state:read",
		"What waits and runs on each loop.")
	LoopCancel = changes[BookingID, Empty]("sys.api.loop.cancel", "loop:book",
		"Cancel one's own booking that has not started.")
	LoopOffer = aside(changes[HandlerName, Offered]("sys.api.loop.offer.<name>", "handler:<name>",
		"Lend sys.call.<name> to other identities; ends with the connection."))

	OpList = reads[Empty, Ops]("sys.api.op.list", "state:read",
		"The platform and what it can do.")
	OpSetClock = changes[SetClock, ClockSet]("sys.api.op.set-clock", "op:set-clock",
		"Set the wall clock.")
	OpReboot = waits[Reboot, StateOutcome]("sys.api.op.reboot", "op:reboot",
		"Reboot, halt or power off through CONTEXT_DESTROYING, so that notifiers can defer it.")
	OpCaptivePortal = waits[Empty, CaptivePortal]("sys.api.op.captive-portal", "op:captive-portal",
		"Look for a captive portal now.")

	BlobGet = reads[BlobRange, BlobPart]("sys.api.blob.get.<name>.<index>", "blob:read:<name>",
		"Read a blob or a part of it.")
	BlobSize = reads[BlobKey, BlobMeta]("sys.api.blob.size.<name>.<index>", "blob:read:<name>",
		"A blob's size and revision.")
	BlobSet = big(changes[BlobWrite, BlobWritten]("sys.api.blob.set.<name>.<index>", "blob:write:<name>",
		"Replace a blob's content."))
	BlobAppend = big(changes[BlobTail, BlobWritten]("sys.api.blob.append.<name>.<index>", "blob:write:<name>",
		"Add to a blob's end, atomically against other writers."))
	BlobEmpty = changes[BlobKey, BlobEmptied]("sys.api.blob.empty.<name>.<index>", "blob:write:<name>",
		"Empty a blob.")
	BlobList = reads[Empty, Blobs]("sys.api.blob.list", "blob:list",
		"Every blob there is, without its content.")

	AccessWho = reads[Empty, Connections]("sys.api.access.who", RightAdmin,
		"Who is connected: identity, roles, process.")
	AccessCan = reads[AccessQuery, AccessRuling]("sys.api.access.can", "",
		"Whether somebody may do something, and which rule says so; about others only with the right admin.")
	AccessTicket = changes[TicketWish, Ticket]("sys.api.access.ticket", RightAdmin,
		"A user and a password with which a web page may connect for a while.")
)

// endpoints is the table behind [Endpoints], filled as the variables above are made.
var endpoints []*EndpointInfo

// Endpoints returns every endpoint in the order of the protocol's sections. The infos are shared: read them only.
func Endpoints() []*EndpointInfo { return slices.Clip(endpoints) }

func reads[Req, Ans any](subject, right, doc string) Endpoint[Req, Ans] {
	info := &EndpointInfo{
		Subject: subject, Right: right, Doc: doc,
		Req: reflect.TypeFor[Req](), Ans: reflect.TypeFor[Ans](), parameters: parametersOf(subject, reflect.TypeFor[Req]()),
	}
	endpoints = append(endpoints, info)
	return Endpoint[Req, Ans]{info}
}

func changes[Req, Ans any](subject, right, doc string) Endpoint[Req, Ans] {
	e := reads[Req, Ans](subject, right, doc)
	e.Changes = true
	return e
}

func waits[Req, Ans any](subject, right, doc string) Endpoint[Req, Ans] {
	e := aside(changes[Req, Ans](subject, right, doc))
	e.Waits = true
	return e
}

func aside[Req, Ans any](e Endpoint[Req, Ans]) Endpoint[Req, Ans] {
	e.Aside = true
	return e
}

func big[Req, Ans any](e Endpoint[Req, Ans]) Endpoint[Req, Ans] {
	e.Big = true
	return e
}
