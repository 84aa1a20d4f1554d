package client

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"muster/wire"
)

// Call asks an endpoint of the daemon's and waits for its answer, at most until ctx is done; when ctx has no end, 10 s,
// or for an endpoint that waits by itself as long as that may take. A refusal is a [*wire.Error]; nobody there is
// [ErrNoDaemon].
func Call[Req, Ans any](ctx context.Context, c *Client, e wire.Endpoint[Req, Ans], req Req) (Ans, error) {
	var answer Ans
	data, err := wire.Encode(req)
	if err != nil {
		return answer, err
	}
	budget := answerBudget
	if e.Waits {
		budget = wire.MaxWait.Duration() + answerBudget
	}
	m, err := c.ask(ctx, &nats.Msg{Subject: e.For(req), Data: data}, budget)
	if err != nil {
		return answer, err
	}
	if err := wire.Decode(m.Data, &answer); err != nil {
		return answer, fmt.Errorf("answer of %s: %w", m.Subject, err)
	}
	return answer, nil
}

// CallJSON asks any subject with JSON, and gives the JSON that is answered. The errors are those of [Call].
func (c *Client) CallJSON(ctx context.Context, subject string, body []byte) ([]byte, error) {
	m := nats.NewMsg(subject)
	m.Data = body
	m.Header.Set(wire.HeaderContentType, wire.ContentJSON)
	answer, err := c.ask(ctx, m, wire.MaxWait.Duration()+answerBudget)
	if err != nil {
		return nil, err
	}
	return answer.Data, nil
}

// ask sends a request and takes a refusal for an error.
func (c *Client) ask(ctx context.Context, m *nats.Msg, budget time.Duration) (*nats.Msg, error) {
	if _, ends := ctx.Deadline(); !ends {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, budget)
		defer cancel()
	}
	answer, err := c.nc.RequestMsgWithContext(ctx, m)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return nil, fmt.Errorf("%w on %s", ErrNoDaemon, m.Subject)
	case errors.Is(err, context.DeadlineExceeded):
		return nil, wire.Errorf(wire.CodeTimeout, "no answer on %s in time", m.Subject)
	case err != nil:
		return nil, fmt.Errorf("ask %s: %w", m.Subject, err)
	}
	return answer, refusal(answer)
}

// refusal gives the error that an answer is, nil if it is none.
func refusal(m *nats.Msg) error {
	text := m.Header.Get(wire.HeaderErrorCode)
	if text == "" {
		return nil
	}
	var e wire.Error
	if err := decode(m, &e); err == nil && e.Code != 0 {
		return &e
	}
	code, err := strconv.Atoi(text)
	if err != nil {
		code = int(wire.CodeInternal)
	}
	return wire.Errorf(wire.Code(code), "%s", m.Header.Get(wire.HeaderError))
}

// passing reports whether the same call may succeed later: nobody was there, or not in time, or the daemon is going.
func passing(err error) bool {
	e, refused := errors.AsType[*wire.Error](err)
	if !refused {
		return errors.Is(err, ErrNoDaemon) || errors.Is(err, nats.ErrConnectionReconnecting)
	}
	return e.Code == wire.CodeTimeout || e.Code == wire.CodeStopping || e.Code == wire.CodeTooMany
}
