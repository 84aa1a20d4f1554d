package bus

import (
	"errors"
	"slices"
	"strings"

	"github.com/nats-io/nats-server/v2/server"

	"muster/access"
	"muster/wire"
)

// home is the account of an identity: what it sees of the bus. Nothing of one is visible to another.
type home struct {
	identity access.Identity
	account  *server.Account
	open     map[door]bool // doors cannot be closed again
	moves    int           // how often the identity got a new account because it lost something
	pace     *pace
	flow     *flow // nil for an administrator's
}

// bound gives what bounds the connections of the identity; nil where nothing does, for an administrator.
func (h *home) bound(b Bounds) *flow {
	if h.identity.Admin() {
		return nil
	}
	if h.flow == nil {
		h.flow = newFlow(b)
	}
	return h.flow
}

// door is a subject on which something passes between the account of an identity and the daemon's.
type door struct {
	way     way
	subject string
}

type way int

const (
	reads    way = iota // requests that change nothing, to the daemon
	asks                // other requests, to the daemon, which is told from which of the identity's connections they come
	uses                // requests, to the store or another service of the server's, which knows them by their own names
	hears               // events, from the daemon
	confides            // events of secrets, from the daemon
	tells               // messages, to everybody
)

// doors lists what an identity's rights open.
func doors(i access.Identity) []door {
	var list []door
	add := func(w way, subjects ...string) {
		for _, subject := range subjects {
			list = append(list, door{w, subject})
		}
	}
	for _, e := range wire.Endpoints() {
		if e.Changes {
			add(asks, e.Reach()...)
		} else {
			add(reads, e.Reach()...)
		}
	}
	add(reads, services)
	add(uses, i.StoreServices()...)
	add(hears, i.Events()...)
	add(confides, i.Confidences()...)
	add(tells, messageRoots()...)
	if i.Admin() {
		add(hears, wire.InboxPrefix+">") // what the store pushes
	}
	return list
}

// secretPrefix stands before the subjects of events that a pattern must not bring. Only the server's own permissions
// would keep them from whoever hears a pattern, and it forgets those of subscriptions that are there when a connection
// gets other rights.
const secretPrefix = "secret."

// confidential gives the subject on which the daemon sends an event.
func confidential(subject string) string {
	if tokens := strings.Split(subject, "."); len(tokens) == 4 && tokens[1] == "blob" {
		if known, _ := wire.KnownBlob(tokens[2]); known.Secret {
			return secretPrefix + subject
		}
	}
	return subject
}

// fits reports whether nothing is open that the identity has no right to.
func (h *home) fits(i access.Identity) bool {
	needed := doors(i)
	for d := range h.open {
		if !slices.Contains(needed, d) {
			return false
		}
	}
	return true
}

// furnish opens what is not open yet. The daemon's questions and results come from its seat in the account.
func (h *home) furnish(own *server.Account, i access.Identity) error {
	var errs []error
	for _, d := range doors(i) {
		if h.open[d] {
			continue
		}
		h.open[d] = true
		switch d.way {
		case reads:
			errs = append(errs, h.account.AddServiceImport(own, d.subject, from(h.account.Name, d.subject)))
		case asks:
			errs = append(errs, h.lead(own, d.subject, from(h.account.Name, d.subject)))
		case uses:
			if !i.Admin() { // one answer, so that the server keeps nothing of a request that has been answered
				errs = append(errs, own.AddServiceExport(d.subject, nil))
			}
			errs = append(errs, h.lead(own, d.subject, d.subject))
		case hears:
			errs = append(errs, h.account.AddStreamImport(own, d.subject, ""))
		case confides:
			errs = append(errs, h.account.AddMappedStreamImport(own, secretPrefix+d.subject, d.subject))
		case tells:
			out := access.OutPrefix + d.subject
			errs = append(errs, h.account.AddMapping(d.subject, out), h.account.AddServiceImport(own, out, from(h.account.Name, d.subject)))
		}
	}
	return errors.Join(errs...)
}

// lead has what is sent on a subject of the account come out in the daemon's on another, and the server say from which
// connection, which takes it time with each request: it does where that matters.
func (h *home) lead(own *server.Account, subject, to string) error {
	return errors.Join(h.account.AddServiceImport(own, subject, to), h.account.SetServiceImportSharing(own, to, true))
}
