package wire

// Connections answers access.who.
type Connections struct {
	Connections []Connection `json:"connections"` // oldest first; the daemon's own are left out
}

// Connection is one participant's connection, as the kernel and the server know it.
type Connection struct {
	Conn          uint64     `json:"conn"` // the server's number for it
	Identity      string     `json:"identity"`
	Roles         []string   `json:"roles"`
	Via           Via        `json:"via"`
	Name          string     `json:"name"`          // as it calls itself
	UID           *int       `json:"uid,omitempty"` // by the kernel's word; absent with via nkey or ticket
	PID           int        `json:"pid,omitempty"`
	Exe           string     `json:"exe,omitempty"`
	Since         UnixMicros `json:"since_at_us"`
	Subscriptions int        `json:"subscriptions"`
	Pending       int64      `json:"pending"` // bytes that it has not read yet
	Slow          bool       `json:"slow"`    // it reads slower than it is sent to
}

// Via is the way in which a connection comes.
type Via string

// The ways.
const (
	ViaTCP    Via = "tcp"    // over the loopback interface; the kernel says whose socket it is
	ViaUnix   Via = "unix"   // over the socket file; the kernel says which process connected
	ViaNkey   Via = "nkey"   // from anywhere, with a key of its own
	ViaTicket Via = "ticket" // from a web page, with a user and a password that the daemon gave for a while
)

// AccessQuery asks whether somebody may do something.
type AccessQuery struct {
	Who   string `json:"who,omitempty"`         // as in a role: uid:1001, user:modem, nkey:U…; absent means the caller
	Right string `json:"right" wire:"required"` // in the protocol's words, its parameters filled: blob:read:auth
}

// AccessRuling answers access.can.
type AccessRuling struct {
	Identity string   `json:"identity"`
	Roles    []string `json:"roles"`
	Allowed  bool     `json:"allowed"`
	Rule     string   `json:"rule"` // which role says so, in which words; or that none does
}

// Check holds the right against those that there are.
func (q AccessQuery) Check() error {
	if err := CheckRight(q.Right); err != nil {
		return err
	}
	return checkText("who", q.Who)
}

// TicketWish asks for a user and a password with which a web page may connect for a while.
type TicketWish struct {
	Role string `json:"role" wire:"required"` // what the page may do
	TTL  Micros `json:"ttl_us,omitempty"`     // for how long; 0 means 10 min
}

// Ticket answers access.ticket. It is shown once.
type Ticket struct {
	User     string     `json:"user"`
	Password string     `json:"password"`
	Role     string     `json:"role"`
	Expires  UnixMicros `json:"expires_at_us"` // the connection ends then
	URL      string     `json:"url"`           // where to connect: ws://127.0.0.1:8222
}

// How long a ticket is good.
const (
	MinTicket     Micros = 1_000_000
	MaxTicket     Micros = 3_600_000_000
	DefaultTicket Micros = 600_000_000
)

// Check holds the values against the protocol's limits.
func (w TicketWish) Check() error {
	if w.TTL != 0 && (w.TTL < MinTicket || w.TTL > MaxTicket) {
		return Malformed("ttl_us is %d; %d to %d would be right", w.TTL, int64(MinTicket), int64(MaxTicket))
	}
	return CheckName("role", w.Role)
}
