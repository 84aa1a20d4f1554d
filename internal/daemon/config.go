package daemon

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"muster/access"
	"muster/system/linux"
	"muster/wire"
)

// Config is everything that can be set about the daemon. [DefaultConfig] is complete; a file, the environment and
// flags change parts of it, in that order.
type Config struct {
	Dir      string   `toml:"dir"`       // where the state of the daemon lives; kept over restarts
	Listen   string   `toml:"listen"`    // address of the bus, loopback only; port 0 lets the kernel choose
	Platform string   `toml:"platform"`  // sim, which never touches the host, or linux
	RebootBy []string `toml:"reboot_by"` // on linux, the ways down, the first first
	User     string   `toml:"user"`      // that the daemon becomes; "" means that it stays who it is
	Group    string   `toml:"group"`     // of that user; "" means his own
	LogLevel string   `toml:"log_level"` // debug, info, warn or error
	Loops    int      `toml:"loops"`     // how many event loops there are

	Pause  Duration `toml:"pause"`  // how long the goal rests after a boot step was aborted or expired
	Rejoin Duration `toml:"rejoin"` // how long notifiers known from before a restart have to come back

	Socket    Socket              `toml:"socket"`
	WebSocket WebSocket           `toml:"websocket"`
	Bounds    Bounds              `toml:"bounds"`
	Roles     []access.Role       `toml:"role"` // who may do what
	Store     Store               `toml:"store"`
	Stdin     Stdin               `toml:"stdin"`
	Network   Network             `toml:"network"`
	Portal    Portal              `toml:"portal"`
	Clock     Clock               `toml:"clock"`
	Policy    Policy              `toml:"policy"`
	Identity  Identity            `toml:"identity"`
	Enrol     Enrol               `toml:"enrol"`
	Auth1     Token               `toml:"auth1"`
	Auth2     Token               `toml:"auth2"`
	Scripts   Scripts             `toml:"scripts"`
	Updates   Updates             `toml:"updates"`
	Systemd   Systemd             `toml:"systemd"`
	Watchdog  Watchdog            `toml:"watchdog"`
	Hold      map[string]Hold     `toml:"hold"`     // by state: how long a move there may be held
	Stay      map[string]Duration `toml:"stay"`     // by state: how long the system may be in it
	Required  []Required          `toml:"required"` // notifiers that must be there
}

// Socket is the Unix socket of the bus.
type Socket struct {
	Path  string `toml:"path"`  // "" is the default, "none" means none
	Mode  string `toml:"mode"`  // of the file, in octal
	Group string `toml:"group"` // of the file; "" is the daemon's
}

// WebSocket is where web pages reach the bus, with tickets.
type WebSocket struct {
	Listen  string   `toml:"listen"`  // loopback address; "" means none
	Origins []string `toml:"origins"` // of the pages that may connect; none means the listener's own
}

// Bounds are what each identity may use of the bus, administrators excepted.
type Bounds struct {
	Connections   int `toml:"connections"`   // at the same time
	Subscriptions int `toml:"subscriptions"` // of all of its connections
	Requests      int `toml:"requests"`      // a second
	Bytes         int `toml:"bytes"`         // of requests a second
}

// Store bounds what the daemon keeps on disk, and says where the key is that encrypts it. Without a credential and a
// key file it is store.key in dir, made with the store: that keeps out who copies the store, not who copies the disk.
type Store struct {
	MaxBytes   int64  `toml:"max_bytes"`  // events, blobs and durable bookings together, in bytes
	KeyFile    string `toml:"key_file"`   // the file that is the key
	Credential string `toml:"credential"` // or the systemd credential that is it
}

// Systemd is what systemd is told, where it started the daemon with Type=notify.
type Systemd struct {
	Ready string `toml:"ready"` // from when on the daemon has started: bus, or a boot state
}

// Hold limits how long a transition may be held.
type Hold struct {
	Limit   Duration     `toml:"limit"`    // 0 means for ever
	OnLimit wire.OnLimit `toml:"on_limit"` // proceed or abort
}

// Required is a notifier without which its states are not entered.
type Required struct {
	Name   string       `toml:"name"`
	States []wire.State `toml:"states"` // none means all
}

// Duration is a time.Duration written as "1m30s".
type Duration time.Duration

// UnmarshalText reads a duration such as "500ms".
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	if err != nil || parsed < 0 {
		return fmt.Errorf("%q is not a duration; \"90s\" or \"1m30s\" would be right", text)
	}
	*d = Duration(parsed)
	return nil
}

// MarshalText writes the duration as UnmarshalText reads it, and as people do: "1m", not "1m0s".
func (d Duration) MarshalText() ([]byte, error) {
	text := time.Duration(d).String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return []byte(text), nil
}

// DefaultConfig is what holds where nothing is said.
func DefaultConfig() Config {
	return Config{
		Dir: DefaultDir(), Listen: "127.0.0.1:4222", Platform: platformSim, RebootBy: linux.WayNames(), LogLevel: "info", Loops: 1,
		Pause: Duration(time.Minute), Rejoin: Duration(2 * time.Second),
		Socket: Socket{Mode: "0666"}, WebSocket: WebSocket{Origins: []string{}},
		Bounds:  Bounds{Connections: 64, Subscriptions: 16384, Requests: 2000, Bytes: 8 << 20},
		Store:   Store{MaxBytes: 256 << 20},
		Systemd: Systemd{Ready: readyWithBus},

		Watchdog: Watchdog{Timeout: Duration(30 * time.Second)},

		Stdin: Stdin{Patience: Duration(time.Minute)},
		Network: Network{
			Mode: modeOff, Interfaces: []string{}, Patience: Duration(2 * time.Minute), Settle: Duration(5 * time.Second),
		},
		Portal: Portal{Mode: modeOff, Status: 204, Patience: Duration(2 * time.Minute)},
		Clock:  Clock{Mode: modeOff, Patience: Duration(2 * time.Minute)},
		Policy: Policy{Patience: Duration(2 * time.Minute)},

		Identity: Identity{From: []string{}, Patience: Duration(2 * time.Minute)},
		Enrol:    Enrol{Mode: modeOff, Auth: authBearer, Timeout: Duration(time.Minute), Patience: Duration(5 * time.Minute)},
		Auth1:    defaultToken("auth.1"),
		Auth2:    defaultToken("ext-auth1.0"),

		Scripts: Scripts{Timeout: Duration(30 * time.Second), Retry: Duration(10 * time.Second)},
		Updates: Updates{Timeout: Duration(10 * time.Minute), Retry: Duration(time.Minute)},
		Hold: map[string]Hold{
			"POLICY_INVALID":          {Duration(30 * time.Second), wire.LimitProceed},
			"AWAITING_MODAL_UPDATING": {Duration(time.Minute), wire.LimitAbort},
			"MODAL_UPDATING":          {Duration(time.Minute), wire.LimitAbort},
			"CONTEXT_DESTROYING":      {Duration(30 * time.Second), wire.LimitProceed},
		},
		Stay: map[string]Duration{
			"AWAITING_MODAL_UPDATING": Duration(time.Minute),
			"MODAL_UPDATING":          Duration(6 * time.Hour),
		},
	}
}

// DefaultDir is where the daemon keeps its state: /var/lib/muster for root, else below the user's state folder.
func DefaultDir() string {
	if os.Geteuid() == 0 {
		return "/var/lib/muster"
	}
	if dir := os.Getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "muster")
	}
	if home, err := os.UserHomeDir(); err == nil {
		return filepath.Join(home, ".local", "state", "muster")
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("muster-%d", os.Geteuid()))
}

// DefaultConfigFile is read when no file is named and it exists.
const DefaultConfigFile = "/etc/muster/muster.toml"

// LoadConfig gives the defaults changed by the file at path and then by the environment. An empty path means
// [DefaultConfigFile] where there is one. The result is not checked yet: flags may follow; see [Config.Check].
func LoadConfig(path string) (Config, error) {
	config := DefaultConfig()
	named := path != ""
	if !named {
		path = DefaultConfigFile
	}
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !named:
	case err != nil:
		return config, fmt.Errorf("read configuration: %w", err)
	default:
		if err := config.merge(string(text)); err != nil {
			return config, fmt.Errorf("%s: %w", path, err)
		}
	}
	config.environment(os.Environ())
	return config, nil
}

// merge reads TOML over what is there. A key that does not exist is an error that names the nearest one.
func (c *Config) merge(text string) error {
	meta, err := toml.Decode(text, c)
	if parse, ok := errors.AsType[toml.ParseError](err); ok {
		return fmt.Errorf("line %d: %s", parse.Position.Line, parse.Message)
	}
	if err != nil {
		return err
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return unknownKey(unknown[0])
	}
	return nil
}

func unknownKey(key toml.Key) error {
	table := ""
	if len(key) > 1 {
		table = key[0]
	}
	last := key[len(key)-1]
	return fmt.Errorf("%s is not a setting; did you mean %s?", key, wire.Nearest(last, keys(table)))
}

// environment reads MUSTER_DIR, MUSTER_LISTEN, MUSTER_SOCKET, MUSTER_PLATFORM and MUSTER_LOG_LEVEL.
func (c *Config) environment(environ []string) {
	settings := map[string]*string{
		"MUSTER_DIR": &c.Dir, "MUSTER_LISTEN": &c.Listen, "MUSTER_PLATFORM": &c.Platform, "MUSTER_LOG_LEVEL": &c.LogLevel,
		"MUSTER_SOCKET": &c.Socket.Path,
	}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if setting, ok := settings[name]; ok && value != "" {
			*setting = value
		}
	}
}

// Check holds every value against what it may be. The error names the setting, its value and what would be right.
func (c Config) Check() error {
	host, _, err := net.SplitHostPort(c.Listen)
	ip := net.ParseIP(host)
	switch {
	case !filepath.IsAbs(c.Dir):
		return fmt.Errorf("dir is %q; an absolute path would be right", c.Dir)
	case err != nil:
		return fmt.Errorf("listen is %q; an address such as 127.0.0.1:4222 would be right", c.Listen)
	case ip == nil || !ip.IsLoopback():
		return fmt.Errorf("listen is %q; the bus listens on loopback only, 127.0.0.1:4222 would be right", c.Listen)
	case c.Platform != platformSim && c.Platform != platformLinux:
		return fmt.Errorf("platform is %q; linux, or sim, which never touches the host, would be right", c.Platform)
	case c.Platform == platformLinux && runtime.GOOS != "linux":
		return fmt.Errorf("platform is %q; on %s only sim would be right", c.Platform, runtime.GOOS)
	case c.Loops < 1 || c.Loops > maxLoops:
		return fmt.Errorf("loops is %d; 1 to %d would be right", c.Loops, maxLoops)
	}
	if err := c.Store.check(); err != nil {
		return err
	}
	if _, err := c.level(); err != nil {
		return err
	}
	if err := c.checkPrivileges(); err != nil {
		return err
	}
	if err := c.checkAccess(); err != nil {
		return err
	}
	if err := c.checkBoot(); err != nil {
		return err
	}
	if err := c.checkWatchdog(); err != nil {
		return err
	}
	if err := c.Systemd.check(); err != nil {
		return err
	}
	return c.checkLimits()
}

// The platforms.
const (
	platformSim   = "sim"
	platformLinux = "linux"
)

// The bounds of settings.
const (
	maxLoops = 64
	minStore = 16 << 20
)

func (s Store) check() error {
	switch {
	case s.MaxBytes < minStore:
		return fmt.Errorf("store.max_bytes is %d; at least %d would be right", s.MaxBytes, int64(minStore))
	case s.KeyFile != "" && !filepath.IsAbs(s.KeyFile):
		return fmt.Errorf("store.key_file is %q; an absolute path would be right", s.KeyFile)
	case s.Credential != "" && s.Credential != filepath.Base(s.Credential):
		return fmt.Errorf("store.credential is %q; a name such as muster-store would be right", s.Credential)
	case s.KeyFile != "" && s.Credential != "":
		return fmt.Errorf("store.key_file is %q and store.credential is %q; one of them would be right", s.KeyFile, s.Credential)
	}
	return nil
}

func (c Config) checkLimits() error {
	for name, hold := range c.Hold {
		if _, err := wire.ParseState(name); err != nil {
			return fmt.Errorf("hold.%s: %w", name, err)
		}
		if hold.OnLimit != wire.LimitProceed && hold.OnLimit != wire.LimitAbort && (hold.Limit != 0 || hold.OnLimit != "") {
			return fmt.Errorf("hold.%s.on_limit is %q; proceed or abort would be right", name, hold.OnLimit)
		}
	}
	for name := range c.Stay {
		state, err := wire.ParseState(name)
		if err != nil {
			return fmt.Errorf("stay.%s: %w", name, err)
		}
		if !state.Modal() {
			return fmt.Errorf("stay.%s is set; only AWAITING_MODAL_UPDATING and MODAL_UPDATING are left by themselves", name)
		}
	}
	seen := map[string]bool{}
	for i, r := range c.Required {
		if err := wire.CheckName("notifier", r.Name); err != nil {
			return fmt.Errorf("required[%d].name: %w", i, err)
		}
		if seen[r.Name] {
			return fmt.Errorf("required[%d].name is %q for the second time", i, r.Name)
		}
		seen[r.Name] = true
	}
	return nil
}

// Write prints the configuration as the TOML that [LoadConfig] reads.
func (c Config) Write(w io.Writer) error { return toml.NewEncoder(w).Encode(c) }
