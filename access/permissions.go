package access

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"muster/wire"
)

// Endpoints are the subjects that every identity may ask on: the daemon itself refuses what needs a right, and names it.
var Endpoints = []string{"sys.api.>", "sys.loop.*", "$SRV.>"}

// AdminServices are what an administrator may use besides the endpoints, so that the stock nats command does everything:
// the store and its flow control.
var AdminServices = []string{"$JS.API.>", "$KV.>", "$JS.ACK.>", "$JS.FC.>"}

// How a participant answers what it is asked, on the subject that the question names and nowhere else.
const (
	maxAnswers   = 4                // so that two that differ can be told
	answerWindow = 70 * time.Second // above the longest timeout of a notifier
	callWindow   = time.Hour        // of a booked call
)

// StoreServices are the subjects on which the identity may ask the store itself: an administrator everything, anybody
// else on the exact subjects of what he may read of it, which are each blob, by its key, and the kept events. A pattern
// would not do: the store takes a wildcard in a request for one.
func (i Identity) StoreServices() []string {
	if i.Admin() {
		return slices.Clone(AdminServices)
	}
	var subjects []string
	for _, name := range wire.BlobNames() {
		known, _ := wire.KnownBlob(name)
		if !i.May(wire.Fill("blob:read:<name>", name)) {
			continue
		}
		for index := range known.Indexes {
			subjects = append(subjects, blobRead+name+"."+strconv.Itoa(index))
		}
	}
	for _, name := range i.parameters("blob:read:<name>") {
		if strings.HasPrefix(name, wire.UserBlobPrefix) {
			subjects = append(subjects, blobRead+name+".0")
		}
	}
	if len(subjects) > 0 {
		subjects = append(subjects, "$JS.API.STREAM.INFO.KV_"+wire.BlobsBucket)
	}
	if i.May("state:read") {
		subjects = append(subjects, "$JS.API.STREAM.INFO."+wire.EventsStream,
			"$JS.API.DIRECT.GET."+wire.EventsStream, "$JS.API.DIRECT.GET."+wire.EventsStream+".>")
	}
	return subjects
}

const blobRead = "$JS.API.DIRECT.GET.KV_" + wire.BlobsBucket + ".$KV." + wire.BlobsBucket + "."

// Events are the subjects of the daemon's account that the identity may hear.
func (i Identity) Events() []string {
	var subjects []string
	for _, e := range wire.Events() {
		subjects = append(subjects, i.filled(e.Subject, e.Right)...)
	}
	return subjects
}

// Confidences are the events of secret blobs that the identity may hear. They are not among those that a pattern brings.
func (i Identity) Confidences() []string {
	var subjects []string
	for _, name := range wire.SecretBlobs() {
		if i.May(wire.Fill("blob:read:<name>", name)) {
			subjects = append(subjects, wire.Fill("sys.blob.<name>.*", name))
		}
	}
	return subjects
}

// Messages are the subjects on which the identity may tell others what happened on the device.
func (i Identity) Messages() []string {
	var subjects []string
	for _, e := range wire.Events() {
		if e.Sender != "" {
			subjects = append(subjects, i.filled(e.Subject, e.Sender)...)
		}
	}
	return subjects
}

// MaySend reports whether the identity may tell others something on a subject.
func (i Identity) MaySend(subject string) bool {
	tokens := strings.Split(subject, ".")
	if slices.ContainsFunc(tokens, func(token string) bool { return token == "" || token == "*" || token == ">" }) {
		return false
	}
	return slices.ContainsFunc(i.Messages(), func(pattern string) bool {
		return slices.EqualFunc(strings.Split(pattern, "."), tokens, func(want, got string) bool { return want == "*" || want == got })
	})
}

// OutPrefix is put by the bus before the subject of a message that leaves its sender's account. The server holds
// permissions against what it has become.
const OutPrefix = "out."

func (i Identity) outgoing() []string {
	subjects := i.Messages()
	for n, subject := range subjects {
		subjects[n] = OutPrefix + subject
	}
	return subjects
}

// filled gives the patterns of a subject whose parameters a right fills: sys.blob.<name>.<index> with blob:read:<name>.
func (i Identity) filled(subject, right string) []string {
	_, parameter, parametric := strings.Cut(right, "<")
	if !parametric {
		if !i.May(right) {
			return nil
		}
		return []string{wire.Pattern(subject)}
	}
	var subjects []string
	for _, value := range i.parameters(right) {
		subjects = append(subjects, wire.Pattern(strings.Replace(subject, "<"+parameter, value, 1)))
	}
	return subjects
}

// Permissions are what the server itself enforces within the identity's account.
func (i Identity) Permissions() *server.Permissions {
	asked := slices.Clone(Endpoints) // where the daemon is asked, nobody else listens
	if i.Admin() {
		return &server.Permissions{
			Publish:   &server.SubjectPermission{Deny: forgeries()},
			Subscribe: &server.SubjectPermission{Deny: asked},
		}
	}
	answers := &server.ResponsePermission{MaxMsgs: maxAnswers, Expires: answerWindow}
	hear := []string{wire.InboxPrefix + ">"}
	for _, name := range i.parameters("notifier:<name>") {
		hear = append(hear, wire.NotifyPrefix+name)
	}
	if i.May("loop:book") {
		hear = append(hear, wire.CallPrefix+">", wire.DonePrefix+">")
		answers.Expires = callWindow
	}
	for _, name := range i.parameters("handler:<name>") {
		hear = append(hear, wire.CallPrefix+name)
		answers.Expires = callWindow
	}
	for _, subject := range i.Events() {
		hear = append(hear, subject)
		if before := strings.TrimRight(subject, ".*"); before != subject {
			hear = append(hear, before+".>") // as people write it
		}
	}
	return &server.Permissions{
		Publish: &server.SubjectPermission{
			Allow: slices.Concat(Endpoints, i.StoreServices(), i.outgoing()),
			Deny:  forgeries(),
		},
		Subscribe: &server.SubjectPermission{Allow: hear, Deny: append(asked, i.secrets()...)},
		Response:  answers,
	}
}

// forgeries are the subjects of the daemon's own events, which nobody else may send even to himself.
func forgeries() []string {
	forged := []string{"sys.ota.>", "sys.trust.>"}
	for _, e := range wire.Events() {
		if e.Sender == "" {
			forged = append(forged, e.Pattern())
		}
	}
	return forged
}

// secrets are the events of the secret blobs that the identity may not hear, so that who subscribes to one is told.
func (i Identity) secrets() []string {
	var subjects []string
	for _, name := range wire.SecretBlobs() {
		if !i.May(wire.Fill("blob:read:<name>", name)) {
			subjects = append(subjects, wire.Fill("sys.blob.<name>.*", name))
		}
	}
	return subjects
}
