package bus

import (
	"crypto/subtle"
	"errors"
	"sync"

	"github.com/nats-io/nats-server/v2/server"

	"muster/access"
	"muster/wire"
)

// The users of the daemon's own connections, let in by a secret of this process.
const (
	ownUser    = "muster"
	systemUser = "system"
)

// adminServices are what an administrator may use besides the endpoints, so that the stock nats command does
// everything: the store and its flow control.
var adminServices = []string{"$JS.API.>", "$KV.>", "$JS.ACK.>", "$JS.FC.>"}

// eventSubjects are what the daemon itself sends.
func eventSubjects() []string {
	var subjects []string
	for _, e := range wire.Events() {
		if e.Sender == "" {
			subjects = append(subjects, e.Pattern())
		}
	}
	return subjects
}

// authentication lets connections in, each into the account of its identity, which is made when the first one comes.
type authentication struct {
	secret string
	server *server.Server
	own    *server.Account

	mu    sync.Mutex
	known map[string]access.Identity // by account
}

func newAuthentication() *authentication {
	return &authentication{secret: secret(), known: map[string]access.Identity{}}
}

// Check implements [server.Authentication]. Who is not known is refused.
func (a *authentication) Check(c server.ClientAuthentication) bool {
	if c.Kind() != server.CLIENT {
		return false
	}
	remote := c.RemoteAddress()
	if remote == nil || remote.Network() == "pipe" {
		return a.checkOwn(c)
	}
	identity, ok := access.Identify(remote)
	if !ok {
		return false
	}
	account, err := a.account(identity)
	if err != nil {
		a.server.Errorf("account of %s: %v", identity.Name, err)
		return false
	}
	c.RegisterUser(&server.User{Username: identity.Name, Account: account, Permissions: identity.Permissions()})
	return true
}

// checkOwn lets the daemon's connections in.
func (a *authentication) checkOwn(c server.ClientAuthentication) bool {
	opts := c.GetOpts()
	if subtle.ConstantTimeCompare([]byte(opts.Password), []byte(a.secret)) != 1 {
		return false
	}
	account, err := a.server.LookupAccount(accountOfOwn(opts.Username))
	if err != nil {
		return false
	}
	c.RegisterUser(&server.User{Username: opts.Username, Account: account})
	return true
}

// accountOfOwn gives the account that one of the daemon's own users is in: its own two, or the one of an identity, by
// its name, where the daemon takes a seat.
func accountOfOwn(user string) string {
	switch user {
	case ownUser:
		return ownAccount
	case systemUser:
		return systemAccount
	}
	return user
}

// identity gives who stands behind an account.
func (a *authentication) identity(account string) (access.Identity, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	i, ok := a.known[account]
	return i, ok
}

// account gives the account of an identity, and makes it for the first connection.
func (a *authentication) account(i access.Identity) (*server.Account, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	account, isNew := a.server.LookupOrRegisterAccount(i.Account)
	if !isNew {
		return account, nil
	}
	a.known[i.Account] = i
	return account, a.furnish(account, i)
}

// furnish opens the account's doors: the daemon's endpoints and events come in. Its questions and results come from
// its seat there. Nothing of one identity is visible to another.
func (a *authentication) furnish(account *server.Account, i access.Identity) error {
	var errs []error
	services := []string{"sys.api.>", "sys.loop.*", "$SRV.>"}
	if i.May(access.Admin) {
		services = append(services, adminServices...)
		errs = append(errs, account.AddStreamImport(a.own, "_INBOX.>", "")) // what the store pushes
	}
	for _, subject := range services {
		errs = append(errs, account.AddServiceImport(a.own, subject, subject), account.SetServiceImportSharing(a.own, subject, true))
	}
	for _, subject := range eventSubjects() {
		errs = append(errs, account.AddStreamImport(a.own, subject, ""))
	}
	return errors.Join(errs...)
}
