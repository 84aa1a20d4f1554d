package bus

import (
	"encoding/json"
	"strings"

	"github.com/nats-io/nats.go"
)

// OnGone has f called for every connection of a participant's that closes, by the server's number for it, from one
// goroutine. f must not block. What happened before OnGone was called is not told.
func (b *Bus) OnGone(f func(conn uint64)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gone = append(b.gone, f)
}

// watchGone listens to what the server says of closed connections.
func (b *Bus) watchGone() error {
	_, err := b.system.Subscribe("$SYS.ACCOUNT.*.DISCONNECT", func(m *nats.Msg) {
		var event struct {
			Client struct {
				ID      uint64 `json:"id"`
				Account string `json:"acc"`
				User    string `json:"user"`
				Name    string `json:"name"`
			} `json:"client"`
			Reason string `json:"reason"`
		}
		if err := json.Unmarshal(m.Data, &event); err != nil || event.Client.ID == 0 {
			b.log.Error("unreadable disconnect event", "error", err)
			return
		}
		if accountOfOwn(event.Client.User) == event.Client.Account {
			return // one of the daemon's own
		}
		if strings.HasPrefix(event.Reason, "Slow Consumer") {
			b.log.Warn("connection closed, for it read too slowly", "identity", event.Client.User, "name", cut(event.Client.Name), "conn", event.Client.ID)
		}
		b.auth.gone(event.Client.ID)
		b.questions.lose(event.Client.ID)
		b.mu.Lock()
		listeners := b.gone
		b.mu.Unlock()
		for _, f := range listeners {
			f(event.Client.ID)
		}
	})
	if err != nil {
		return err
	}
	return b.system.Flush()
}

// Alive reports whether the connection is open. One that is not has been told to the listeners of [Bus.OnGone], or
// will be.
func (b *Bus) Alive(conn uint64) bool { return b.server.GetClient(conn) != nil }
