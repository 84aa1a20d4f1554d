package bus

import (
	"encoding/json"
	"sync"
)

// originHeader is set by the server alone on whatever comes out of an identity's account.
const originHeader = "Nats-Request-Info"

// origin is where a request comes from, as the server says it.
type origin struct {
	Account string `json:"acc"`
	Conn    uint64 `json:"id"`
}

// origins are those that were read lately: what the server says of a connection is the same text again and again, and
// reading it would take as long as all else that a small request needs.
type origins struct {
	mu    sync.Mutex
	known map[string]origin // by text
}

// maxOrigins bounds the texts that are kept; when there are more, they are all read anew.
const maxOrigins = 4096

func (o *origins) read(text string) (read origin, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if known, ok := o.known[text]; ok {
		return known, nil
	}
	if err := json.Unmarshal([]byte(text), &read); err != nil {
		return read, err
	}
	if o.known == nil || len(o.known) >= maxOrigins {
		o.known = map[string]origin{}
	}
	o.known[text] = read
	return read, nil
}
