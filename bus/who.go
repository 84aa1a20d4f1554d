package bus

import (
	"context"

	"github.com/nats-io/nats-server/v2/server"

	"muster/access"
	"muster/wire"
)

// slowFrom is from how many bytes waiting a connection counts as slow.
const slowFrom = 256 << 10

// Who answers access.who.
func (b *Bus) Who(context.Context, wire.Caller, wire.Empty) (wire.Connections, error) {
	z, err := b.server.Connz(&server.ConnzOptions{Limit: maxConnections})
	if err != nil {
		return wire.Connections{}, err
	}
	known := map[uint64]*server.ConnInfo{}
	for _, info := range z.Conns {
		known[info.Cid] = info
	}
	var answer wire.Connections
	for _, s := range b.auth.list() {
		info := known[s.conn]
		if info == nil {
			continue // it has just gone
		}
		c := wire.Connection{
			Conn: s.conn, Identity: s.identity.Name, Roles: s.identity.Roles(), Via: s.peer.Via, Name: cut(info.Name), PID: s.peer.PID,
			Exe: s.peer.Exe, Since: wire.At(s.since), Subscriptions: int(info.NumSubs), Pending: int64(info.Pending),
			Slow: info.Pending >= slowFrom,
		}
		if s.peer.Via == wire.ViaTCP || s.peer.Via == wire.ViaUnix {
			c.UID = new(s.peer.UID)
		}
		if s.peer.Via == wire.ViaTCP && c.PID == 0 {
			c.PID, c.Exe = access.ProcessOf(s.socket)
		}
		answer.Connections = append(answer.Connections, c)
	}
	return answer, nil
}

// cut shortens what a client says of itself.
func cut(text string) string { return text[:min(len(text), wire.MaxName)] }

// Can answers access.can.
func (b *Bus) Can(_ context.Context, caller wire.Caller, q wire.AccessQuery) (wire.AccessRuling, error) {
	if q.Who == "" {
		identity, _ := b.auth.identityOf(caller.Identity)
		return identity.Explain(q.Right), nil
	}
	if !b.May(caller, wire.RightAdmin) {
		return wire.AccessRuling{}, wire.Errorf(wire.CodeForbidden, "to ask about others needs the right %s; without who it is about yourself", wire.RightAdmin).
			With("right", wire.RightAdmin)
	}
	identity, err := b.auth.current().Find(q.Who)
	if err != nil {
		return wire.AccessRuling{}, err
	}
	return identity.Explain(q.Right), nil
}

// May reports whether a caller has a right beyond that of the endpoint that it asked.
func (b *Bus) May(caller wire.Caller, right string) bool {
	if caller.Identity == wire.Daemon {
		return true
	}
	identity, ok := b.auth.identityOf(caller.Identity)
	return ok && identity.May(right)
}
