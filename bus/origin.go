package bus

import (
	"encoding/json"
	"strings"
	"sync"

	"muster/access"
	"muster/wire"
)

// fromPrefix and the name of an account stand before the subject of whatever comes out of that account: a request on
// sys.api.state.get reaches the daemon's as "from.UID-1001.sys.api.state.get". Who asks is therefore part of how the
// message travels, and nothing that a client can write. A header would be: the server appends the one that it sets to
// those of the client, which may end its lines in ways that the server and the library read differently.
const fromPrefix = "from."

// from gives the subject, in the daemon's account, of what comes out of an account.
func from(account, subject string) string { return fromPrefix + account + "." + subject }

// cameFrom gives the account that something comes out of, and its subject there.
func cameFrom(subject string) (account, rest string) {
	account, rest, _ = strings.Cut(strings.TrimPrefix(subject, fromPrefix), ".")
	return account, rest
}

// originHeader is what the server says of the connection that a request comes from.
const originHeader = "Nats-Request-Info"

// origin is the connection that a request comes from. The header that it is read from can be forged (see fromPrefix):
// it counts as long as it names a connection of the identity that asks, and says no more than which of them it is.
type origin struct {
	Conn uint64 `json:"id"`
}

// origins are those that were read lately: what the server says of a connection is the same text again and again, and
// reading it would take as long as all else that a small request needs.
type origins struct {
	mu    sync.Mutex
	known map[string]origin // by text
}

// maxOrigins bounds the texts that are kept; when there are more, they are all read anew.
const maxOrigins = 4096

func (o *origins) read(text string) (origin, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if known, ok := o.known[text]; ok {
		return known, nil
	}
	read := new(origin)
	if err := json.Unmarshal([]byte(text), read); err != nil {
		return origin{}, err
	}
	if o.known == nil || len(o.known) >= maxOrigins {
		o.known = map[string]origin{}
	}
	o.known[text] = *read
	return *read, nil
}

// sender finds out who sent what came on a subject.
func (b *Bus) sender(subject string) (home, error) {
	account, _ := cameFrom(subject)
	h, known := b.auth.home(account)
	if !known {
		return h, wire.Errorf(wire.CodeForbidden, "request of no identity")
	}
	return h, nil
}

// conn finds out on which of its connections an identity asks.
func (b *Bus) conn(i access.Identity, header string) (uint64, error) {
	o, err := b.origins.read(header)
	if err != nil || !b.auth.couldBe(i, o.Conn) {
		return 0, wire.Malformed("the header of the request hides which connection it comes from; lines that end in CRLF would be right")
	}
	return o.Conn, nil
}
