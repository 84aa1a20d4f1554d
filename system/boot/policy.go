package boot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"time"

	"muster/system"
	"muster/system/boot/policy"
	"muster/wire"
)

// Policy puts the policy of the device in force, and holds POLICY_VALID until one is. Participants find it in the blob
// user-policy.0 as JSON, and its servers for the time in ntp-server.0; sys.network.policy tells its version, digest and origin.
//
// A policy that is wrong or older than the one in force is refused, and the last good one stays, over restarts too. A
// new one takes its place by way of POLICY_INVALID: what was done under the old one is undone before, and the device climbs
// again.
type Policy struct {
	opts    PolicyOptions
	changed chan struct{} // takes one

	// These are Run's alone.
	kept string   // the digest of the one that is on disk
	room *edition // for which the one before was withdrawn already

	mu      sync.Mutex
	current *edition // that is in force
	next    *edition // that is to be
	looked  bool     // the source has said something
	passed  bool     // POLICY_VALID was accepted, under current
	fault   string   // why there is no other; "" when all is well
	since   time.Time
	hold    holding
}

// PolicyOptions are the surroundings of a Policy. All but Patience and Log are required.
type PolicyOptions struct {
	Source   PolicySource
	Records  Records
	Blobs    Blobs
	Gate     Gate
	Wisher   Wisher
	Teller   Teller
	Patience time.Duration // after which the device goes on without a policy; 0: never
	Log      *slog.Logger
}

// PolicySource is where policies come from. [PolicyFile] is one; what brings them from a fleet is another.
type PolicySource interface {
	// Watch gives the policy, or the reason why there is none, at first and whenever that may have changed, until ctx is
	// done or it cannot any more. It calls tell on its own goroutine alone, and may be called again.
	Watch(ctx context.Context, tell func(PolicyText, error)) error
}

// PolicyText is a policy as it came.
type PolicyText struct {
	Origin string        `json:"origin"` // for people: a path, or the name of a fleet
	Format policy.Format `json:"format"`
	Text   []byte        `json:"text"`
}

// Blobs are read and written.
type Blobs interface {
	Store
	Get(ctx context.Context, caller wire.Caller, r wire.BlobRange) (wire.BlobPart, error)
}

// edition is a policy that was found good.
type edition struct {
	PolicyText
	*policy.Document
	digest string
}

const (
	policyName   = "policy"
	policyTopic  = "sys.network.policy"
	policyRecord = "policy"
)

// silence of the source is borne for so long, where a policy is kept.
const silence = 10 * time.Second

// policyBlob is where participants find the policy.
var policyBlob = wire.BlobKey{Name: wire.UserBlobPrefix + "policy"}

// OpenPolicy makes the part, and reads which policy was good last. If that cannot be read, there is none.
func OpenPolicy(opts PolicyOptions) *Policy {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	p := &Policy{opts: opts, changed: make(chan struct{}, 1), since: time.Now(), hold: holding{patience: patience{limit: opts.Patience}}}
	kept, err := p.load()
	if err != nil {
		opts.Log.Error("policy that was good last not read", "error", err)
	}
	if kept != nil {
		p.next, p.kept = kept, kept.digest
	}
	return p
}

// load reads the policy that was kept; nil when there is none.
func (p *Policy) load() (*edition, error) {
	record, err := p.opts.Records.Load(policyRecord)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var text PolicyText
	if err == nil {
		err = json.Unmarshal(record, &text)
	}
	if err != nil {
		return nil, err
	}
	document, err := policy.Parse(text.Format, text.Text)
	if err != nil {
		return nil, err // this version of muster is stricter than the one that kept it
	}
	return &edition{text, document, policy.Digest(text.Text)}, nil
}

// InForce gives the policy that is in force, nil when none is. It must not be changed.
func (p *Policy) InForce() *policy.Document {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current == nil {
		return nil
	}
	return p.current.Document
}

// Notifier implements [Part].
func (p *Policy) Notifier() system.Notifier {
	return system.Notifier{
		Name: policyName, States: []wire.State{wire.PolicyValid}, Ask: p.ask,
		About: "puts the policy of the device in force",
	}
}

// ask holds until a policy is in force, and no other is to take its place.
func (p *Policy) ask(_ context.Context, q wire.Question) wire.Answer {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.passed && !q.DryRun { // the device is below, or it would not be asked
		p.passed = false
		p.ring()
	}
	if p.next != nil && !p.looked && time.Since(p.since) >= silence { // one is kept, and nobody says whether it still holds
		p.looked = true
		p.ring()
	}
	there := p.current != nil && p.next == nil
	answer := p.hold.answer(q, there, p.reason, func(reason string) {
		p.tell(Change{Old: p.version(), New: p.version(), Degraded: true, Reason: reason + "; the device goes on without"})
		p.opts.Log.Error("policy not waited for any longer", "patience", p.opts.Patience, "reason", reason)
	})
	p.passed = p.passed || answer.Answer == wire.Accept && !q.DryRun
	return answer
}

// reason says what is waited for.
func (p *Policy) reason() string {
	switch {
	case p.fault != "":
		return fmt.Sprintf("%s since %v", p.fault, time.Since(p.since).Round(time.Second))
	case !p.looked:
		return "the policy has not been looked at yet"
	}
	return "policy " + p.next.Version + " is being put in force"
}

// version names the policy in force, "" when none is.
func (p *Policy) version() string {
	if p.current == nil {
		return ""
	}
	return p.current.Version
}

// tell sends an event.
func (p *Policy) tell(change Change) {
	if p.current != nil {
		change.Digest, change.Origin = p.current.digest, p.current.Origin
	}
	p.opts.Teller.Tell(policyTopic, &change)
}

// ring has Run look at what has changed.
func (p *Policy) ring() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// Run implements [Part].
func (p *Policy) Run(ctx context.Context) error {
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() { p.watch(ctx) })
	for failures := 0; ; {
		var again <-chan time.Time
		if failures > 0 {
			again = time.After(backoff(failures))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-p.changed:
		case <-again:
		}
		if failures++; p.act(ctx) {
			failures = 0
		}
	}
}

// watch hears of policies for as long as ctx lasts, whatever becomes of the source.
func (p *Policy) watch(ctx context.Context) {
	for failures := 1; ; failures++ {
		err := p.opts.Source.Watch(ctx, func(text PolicyText, err error) {
			failures = 0
			p.hear(text, err)
		})
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errors.New("it ended by itself")
		}
		p.hear(PolicyText{}, fmt.Errorf("no policy is heard of: %w", err))
		if !pause(ctx, backoff(failures)) {
			return
		}
	}
}

// hear takes what the source says.
func (p *Policy) hear(text PolicyText, err error) {
	var heard *edition
	if err == nil {
		var document *policy.Document
		if document, err = policy.Parse(text.Format, text.Text); err != nil {
			err = fmt.Errorf("%s is refused: %w", text.Origin, err)
		} else {
			heard = &edition{text, document, policy.Digest(text.Text)}
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.ring()
	p.looked = true
	last := p.next
	if last == nil {
		last = p.current
	}
	switch {
	case err != nil:
	case last != nil && heard.digest == last.digest:
		p.fault = ""
		return
	case last != nil && heard.Issued.Before(last.Issued):
		err = fmt.Errorf("%s is refused: policy %s was issued on %s, before policy %s (%s)", text.Origin, heard.Version,
			heard.Issued.Format(time.RFC3339), last.Version, last.Issued.Format(time.RFC3339))
	default:
		p.fault, p.next = "", heard
		p.hold.over() // whoever was let go on without waits again
		return
	}
	p.refuse(err)
}

// keep writes a good policy down, so that it is the last good one whatever comes.
func (p *Policy) keep(e *edition) error {
	if p.kept == e.digest {
		return nil
	}
	record, err := json.Marshal(e.PolicyText)
	if err == nil {
		err = p.opts.Records.Save(policyRecord, record)
	}
	if err != nil {
		return fmt.Errorf("policy %s cannot be kept: %w", e.Version, err)
	}
	p.kept = e.digest
	return nil
}

// refuse notes why there is no other policy.
func (p *Policy) refuse(err error) {
	fault := lastWords(err.Error())
	p.opts.Log.Error("policy not taken", "reason", fault, "in_force", p.version())
	if fault == p.fault {
		return
	}
	p.fault, p.since = fault, time.Now()
	if p.current != nil {
		fault += "; policy " + p.current.Version + " stays in force"
	}
	p.tell(Change{Old: p.version(), New: p.version(), Reason: fault})
}

// act does what is to be done next: it has the old policy withdrawn, or puts the new one in force. It reports whether that
// has come to an end.
func (p *Policy) act(ctx context.Context) bool {
	p.mu.Lock()
	next, withdraw := p.next, p.passed
	if !p.looked {
		next = nil
	}
	version := p.version()
	p.mu.Unlock()
	if next == nil {
		resume(ctx, p.opts.Gate, policyName, p.opts.Log) // the reason may be another
		return true
	}
	err := p.keep(next)
	if err == nil && next == p.room { // the device went on without it, and is not to go down for what may fail again
		err = p.write(ctx, next)
	}
	if err == nil && withdraw && !p.withdraw(ctx, version, next.Version) {
		return false
	}
	if err == nil {
		p.room = next
		err = p.write(ctx, next)
	}
	p.mu.Lock()
	if err == nil {
		p.enforce(next)
	} else {
		p.refuse(err)
	}
	p.mu.Unlock()
	resume(ctx, p.opts.Gate, policyName, p.opts.Log)
	return err == nil
}

// withdraw takes the device to POLICY_INVALID, and reports whether it is there. If not, the next question for
// POLICY_VALID says so.
func (p *Policy) withdraw(ctx context.Context, old, next string) bool {
	reason := fmt.Sprintf("policy %s takes the place of policy %s", next, old)
	if old == "" {
		reason = fmt.Sprintf("policy %s has come", next)
	}
	outcome, err := p.opts.Wisher.Request(ctx, wire.Internal, wire.StateWish{Target: wire.PolicyInvalid, Reason: reason})
	switch {
	case err != nil && ctx.Err() == nil:
		p.opts.Log.Warn("policy not withdrawn yet", "reason", reason, "error", err)
		return false
	case err != nil || outcome.Outcome != wire.OutcomeReached:
		return false
	}
	p.mu.Lock()
	p.passed = false
	p.mu.Unlock()
	return true
}

// write gives the participants what is theirs of a policy.
func (p *Policy) write(ctx context.Context, e *edition) error {
	document, err := e.JSON()
	if err != nil {
		return err
	}
	if len(e.NTPServers) > 0 {
		servers := strings.Join(e.NTPServers, " ")
		if err := putBlob(ctx, p.opts.Blobs, wire.BlobKey{Name: "ntp-server"}, []byte(servers)); err != nil {
			return err
		}
	}
	return putBlob(ctx, p.opts.Blobs, policyBlob, document)
}

// enforce notes that a policy is in force, and tells it.
func (p *Policy) enforce(e *edition) {
	old := p.version()
	p.current, p.fault = e, ""
	if p.next == e { // and not one that has come since
		p.next = nil
	}
	p.hold.over()
	p.tell(Change{Old: old, New: e.Version})
	p.opts.Log.Info("policy in force", "version", e.Version, "before", old, "digest", e.digest, "origin", e.Origin)
}
