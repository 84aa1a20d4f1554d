package daemon

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"muster/wire"
)

// Setting is what people are told of one key of the configuration.
type Setting struct {
	Key     string // hold.<STATE>.limit, where <STATE> stands for any state
	Meaning string // in sentences, with what the value may be
	Default string // in words, where it is not the same everywhere or there is none
	Env     string // the environment variable that comes after the file
	Example string // lines of TOML, where the defaults show none
}

// settings explains [Config] key by key, in the order of the file.
var settings = slices.Concat(settingsBefore, portalSettings, policySettings, identitySettings,
	tokenSettings("auth1", wire.Auth1, wire.Registered), tokenSettings("auth2", wire.Auth2, wire.Auth1), settingsBehind)

// settingsBefore are those before the ones that have a file of their own.
var settingsBefore = []Setting{
	{
		Key: "dir", Env: "MUSTER_DIR", Default: "/var/lib/muster for root, else muster below $XDG_STATE_HOME or ~/.local/state",
		Meaning: "Where the daemon keeps its state over restarts: an absolute path. Only its own user may look into it.",
	},
	{
		Key: "listen", Env: "MUSTER_LISTEN",
		Meaning: "Address of the bus, on the loopback interface only. Port 0 lets the kernel choose one; run.json in dir says which.",
	},
	{
		Key: "platform", Env: "MUSTER_PLATFORM",
		Meaning: `What reboot and set-clock act on: "sim", a simulation that never touches the machine, or "linux", the machine itself. ` +
			`On "linux" a reboot by others, such as "systemctl reboot", goes through CONTEXT_DESTROYING as well.`,
	},
	{
		Key: "reboot_by",
		Meaning: `On the platform "linux", how the device is taken down: "logind", "systemctl" or "syscall", which stops nothing else before. The first ` +
			"that does not fail is taken.",
	},
	{
		Key: "user", Default: "the one who starts the daemon",
		Meaning: `The user that a daemon started as root becomes, such as "muster". From the start its files are that user's; before INITIALIZED, ` +
			"once PRE_PRIV_DROP was accepted, it gives up root and keeps the capabilities that its operations need, and no others: on the platform " +
			`"linux" CAP_SYS_TIME, and CAP_SYS_BOOT if "syscall" is among reboot_by.`,
	},
	{
		Key: "group", Default: "the user's own",
		Meaning: "The group that goes with user.",
	},
	{
		Key: "log_level", Env: "MUSTER_LOG_LEVEL",
		Meaning: `How much is logged to standard error: "debug", "info", "warn" or "error".`,
	},
	{
		Key:     "loops",
		Meaning: fmt.Sprintf("How many event loops there are, 1 to %d. Each runs one booked call at a time.", maxLoops),
	},
	{
		Key:     "pause",
		Meaning: `How long the boot rests after a step was aborted or was held longer than its limit: a duration such as "90s" or "1m30s".`,
	},
	{
		Key:     "rejoin",
		Meaning: "How long notifiers that were there before the daemon was restarted have to come back before the first step: a duration.",
	},
	{
		Key: "socket.path", Env: "MUSTER_SOCKET", Default: `bus.sock in /run/muster for root, in muster below $XDG_RUNTIME_DIR for others; in dir where dir is not the default`,
		Meaning: `Where the bus is reached over a Unix socket: an absolute path, or "none".`,
	},
	{
		Key:     "socket.mode",
		Meaning: "Who may connect to the socket at all, as the mode of a file in octal. What somebody may do is a matter of roles.",
	},
	{
		Key: "socket.group", Default: "the daemon's own",
		Meaning: "The group of the socket's file.",
	},
	{
		Key: "websocket.listen", Default: "none",
		Meaning: `Where web pages reach the bus: an address on the loopback interface, such as "127.0.0.1:8222". They need a ticket, which ` +
			`"muster access ticket" gives.`,
	},
	{
		Key: "websocket.origins", Default: "the listener's own",
		Meaning: `The origins of the pages that may connect, such as "http://127.0.0.1:8080".`,
	},
	{
		Key:     "bounds.connections",
		Meaning: "How many connections an identity may have at the same time; administrators may have any number of all of these.",
	},
	{
		Key:     "bounds.subscriptions",
		Meaning: "How many subscriptions all connections of an identity may have together.",
	},
	{
		Key:     "bounds.requests",
		Meaning: "How many requests an identity may make a second, with twice as many at once. Commands of any kind that come faster than twice that wait.",
	},
	{
		Key:     "bounds.bytes",
		Meaning: "How many bytes of requests an identity may send a second, with twice as many at once.",
	},
	{
		Key: "role.name", Default: "only root and the daemon's own user may connect",
		Meaning: "A role: some people and programs, and what they may do. Read again on SIGHUP.",
		Example: "[[role]]\nname = \"modem\"\nwho = [\"uid:1001\"]\nmay = [\"observer\", \"notifier:modem\", \"loop:book\"]",
	},
	{
		Key: "role.who", Default: "nobody",
		Meaning: `Whom it is given to: "uid:1001", "user:modem", "group:dialout", "nkey:U…", "anyone" on this device. ` +
			`"exe:/usr/bin/x" beside them narrows them to a program.`,
	},
	{
		Key: "role.may", Default: "nothing",
		Meaning: `What it may: rights in the protocol's words, "*" for any name, and "observer" or "participant" for what those may. ` +
			"A secret blob has to be named.",
	},
	{
		Key:     "store.max_bytes",
		Meaning: fmt.Sprintf("How many bytes events, blobs and durable bookings may take on disk together; at least %d.", int64(minStore)),
	},
	{
		Key: "store.key_file", Default: "store.key in dir, made with a new store: it keeps out who copies the store, not who copies the whole disk",
		Meaning: "The file with the key that encrypts the store: an absolute path. It holds 32 random bytes or 64 hexadecimal digits, and only " +
			"the daemon's user or root may own and read it. Keep a copy: without its key a store is lost.",
	},
	{
		Key: "store.credential",
		Meaning: "Instead of a file, the name of the systemd credential that is the key: for muster-store, LoadCredentialEncrypted=" +
			"muster-store:/etc/muster/store.cred in the unit. Made by systemd-creds encrypt --with-key=tpm2 --name=muster-store, it opens on this machine alone.",
	},
	{
		Key:     "stdin.patience",
		Meaning: `After how long the device goes on without what "muster run --stdin" is to read from standard input: a duration; "0s" means never.`,
	},
	{
		Key: "network.mode",
		Meaning: `What IFACE_COLDPLUG and DHCP wait for: "off", nothing; "observe", until the interfaces are listed, and one of them has a link, an ` +
			"address of global scope and a default route, however they came. Nothing is set.",
	},
	{
		Key: "network.interfaces", Default: "any but the loopback interface",
		Meaning: `The interfaces of which one will do, such as ["eth0", "wwan0"].`,
	},
	{
		Key:     "network.patience",
		Meaning: `How long each of both states waits before the device goes on without a network: a duration; "0s" means never.`,
	},
	{
		Key: "network.fall_back",
		Meaning: "Whether the device falls back to IFACE_COLDPLUG when the network is lost: true or false. It is told on sys.network.online " +
			"either way.",
	},
	{
		Key:     "network.settle",
		Meaning: "For how long the network has to be lost before the device falls back: a duration.",
	},
	{
		Key: "clock.mode",
		Meaning: `What TIME_VALID waits for: "off", nothing; "observe", until the kernel, systemd-timesyncd or chronyd says that the clock is synchronised, ` +
			`and it is not before the date of this version, and nothing is set; "manage", until the daemon has set the clock by the one or two ` +
			`servers in the blob ntp-server, which it goes on to do: set that blob, for its default is not asked. Nobody else must set the clock then.`,
	},
	{
		Key:     "clock.patience",
		Meaning: `After how long the device goes on without a valid clock: a duration; "0s" means never.`,
	},
	{
		Key:     "clock.fall_back",
		Meaning: "Whether the device falls back to CPD_PRE_TIME when the time is lost: true or false. It is told on sys.network.clock either way.",
	},
}

// settingsBehind are those behind them.
var settingsBehind = []Setting{
	{
		Key: "scripts.dir", Default: "none",
		Meaning: `A folder of programs that are asked as notifiers, such as "/etc/muster/notifiers.d": NN-name or NN-name.STATE, in that order. ` +
			"Nobody but root and the daemon's own user may be able to change it.",
	},
	{
		Key:     "scripts.timeout",
		Meaning: "How long a script may take to answer before it is killed and holds: a duration.",
	},
	{
		Key:     "scripts.retry",
		Meaning: "After how long a script that defers (exit status 21) is asked again: a duration. After an error it is 1, 2, 4 … 60 s.",
	},
	{
		Key: "updates.dir", Default: "none",
		Meaning: `A folder of programs, such as "/usr/lib/muster/updates.d", NN-name, that run once for each version of the firmware, in that order, ` +
			"before ONE_TIME_UPDATES. Nobody but root and the daemon's own user may be able to change it.",
	},
	{
		Key: "updates.version", Default: "what the blob device-fw-version says",
		Meaning: "The version of the firmware.",
	},
	{
		Key:     "updates.timeout",
		Meaning: "How long one update may take before it is killed and has failed: a duration.",
	},
	{
		Key:     "updates.retry",
		Meaning: "After how long an update that failed is tried again: a duration.",
	},
	{
		Key:     "updates.patience",
		Meaning: `After how long the device goes on without the updates that are left: a duration; "0s" means never.`,
	},
	{
		Key: "systemd.ready",
		Meaning: `From when on systemd takes a daemon of Type=notify for started: "bus", when the bus answers, or a state of the boot such as ` +
			`"OPERATIONAL", when that is reached.`,
	},
	{
		Key: "watchdog.device", Default: "none",
		Meaning: `The device file of the timer that resets the device when the daemon does not feed it, such as "/dev/watchdog", on the platform ` +
			`"linux". It is fed only after the bus has answered, and disarmed at an orderly end.`,
	},
	{
		Key:     "watchdog.timeout",
		Meaning: `After how long it resets the device: a duration in whole seconds, "5s" to "10m". The hardware may take another, which the log says.`,
	},
	{
		Key: "hold.<STATE>.limit", Default: "for ever, for a state that is not named",
		Meaning: `How long a move to the state may be held: a duration; "0s" means for ever.`,
		Example: "[hold.DHCP]\nlimit = \"2m\"\non_limit = \"proceed\"",
	},
	{
		Key:     "hold.<STATE>.on_limit",
		Meaning: `What becomes of the move then: "proceed", one last question and then the move whatever is answered, or "abort".`,
	},
	{
		Key: "stay.<STATE>", Default: "for ever, for a state that is not named",
		Meaning: "How long the system may be in AWAITING_MODAL_UPDATING or MODAL_UPDATING before it goes back to OPERATIONAL: a duration.",
	},
	{
		Key: "required.name", Default: "no notifier is required",
		Meaning: "A notifier that must be there: as long as it is not, its states are not entered. One table for each.",
		Example: "[[required]]\nname = \"modem\"\nstates = [\"DHCP\"]",
	},
	{
		Key: "required.states", Default: "every state",
		Meaning: "The states that need the notifier.",
	},
}

// Settings explains every key of the configuration, in the order of the file.
func Settings() []Setting { return slices.Clip(settings) }

// keys lists what may stand in a table of the file, "" being the outermost, for the hint beside an unknown key.
func keys(table string) (names []string) {
	for _, s := range settings {
		parts := strings.Split(s.Key, ".")
		name := parts[0]
		if table != "" && name != table {
			continue
		} else if table != "" {
			name = parts[len(parts)-1]
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// Explain prints the configuration as a commented file in which every setting stands behind a "#": it changes nothing
// until one is taken away.
func (c Config) Explain(w io.Writer) error {
	values, err := c.values()
	if err != nil {
		return err
	}
	var b strings.Builder
	comment(&b, `The configuration of muster. What stands behind a "#" without a space is in force as it is; to change it, `+
		`take its "#" away, and that of the [table] above it.`)
	comment(&b, "It is read from "+DefaultConfigFile+", or from the file that run --config names; then comes the environment, then the flags.")
	for i, s := range settings {
		b.WriteByte('\n')
		s.explain(&b)
		table := s.table()
		if i+1 == len(settings) || settings[i+1].table() != table {
			b.WriteString(values[table])
		}
	}
	_, err = io.WriteString(w, b.String())
	return err
}

// table is the part of the file that the setting stands in: its first word.
func (s Setting) table() string {
	first, _, _ := strings.Cut(s.Key, ".")
	return first
}

func (s Setting) explain(b *strings.Builder) {
	meaning := s.Meaning
	if s.Key != s.table() {
		meaning = s.Key + ": " + meaning
	}
	comment(b, meaning)
	if s.Default != "" {
		comment(b, "Default: "+s.Default+".")
	}
	if s.Env != "" {
		comment(b, "Environment: "+s.Env+".")
	}
	if s.Example != "" {
		b.WriteString("# For example:\n#   " + strings.ReplaceAll(s.Example, "\n", "\n#   ") + "\n")
	}
}

// values gives the lines of TOML that stand in each table, behind a "#".
func (c Config) values() (map[string]string, error) {
	var text bytes.Buffer
	if err := c.Write(&text); err != nil {
		return nil, err
	}
	lines, table := map[string]string{}, ""
	for line := range strings.Lines(text.String()) {
		line = strings.TrimSpace(line)
		head, isHead := strings.CutPrefix(line, "[")
		switch {
		case line == "" || line == "[hold]": // the tables of the states follow
			continue
		case isHead:
			table, _, _ = strings.Cut(strings.Trim(head, "[]"), ".")
			lines[table] += "#" + line + "\n"
		case table == "":
			key, _, _ := strings.Cut(line, " ")
			lines[key] = "#" + line + "\n"
		default:
			lines[table] += "#" + line + "\n"
		}
	}
	return lines, nil
}

// comment writes a text as lines of a comment.
func comment(b *strings.Builder, text string) {
	const most = 100
	line := "#"
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > most {
			b.WriteString(line + "\n")
			line = "#"
		}
		line += " " + word
	}
	b.WriteString(line + "\n")
}
