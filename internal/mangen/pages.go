package main

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"muster/internal/cli"
	"muster/internal/daemon"
)

// pageName is that of a command's page: muster-blob.
func pageName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// mainPage is muster(1): what there is, and what holds for every command.
func mainPage(root *cobra.Command) []byte {
	r := newPage(root.Name(), 1, lower(root.Short))
	r.section("SYNOPSIS")
	r.macro(`\fBmuster\fP COMMAND [ARGUMENT...] [OPTION...]`)
	r.section("DESCRIPTION")
	r.text(root.Long)
	r.section("COMMANDS")
	for _, g := range root.Groups() {
		r.subsection(strings.TrimSuffix(g.Title, ":"))
		for _, c := range root.Commands() {
			if c.GroupID == g.ID && c.IsAvailableCommand() && c.Name() != "help" {
				r.item(pageName(c)+"(1)", c.Short+".")
			}
		}
	}
	r.section("OPTIONS")
	r.line("Every command has these.")
	r.options(root.PersistentFlags())
	r.item("-h, --help", "Explain a command. \"muster help COMMAND\" does too.")
	r.item("-v, --version", "Tell which muster this is.")
	r.section("EXIT STATUS")
	for _, e := range cli.ExitCodes() {
		r.item(fmt.Sprint(e.Code), upper(e.Meaning)+".")
	}
	r.section("ENVIRONMENT")
	r.item("MUSTER_SERVER", "URL of the bus for the commands, as --server.")
	for _, s := range daemon.Settings() {
		if s.Env != "" {
			r.item(s.Env, fmt.Sprintf("The setting %s; see muster.toml(5).", s.Key))
		}
	}
	r.section("FILES")
	r.item(daemon.DefaultConfigFile, "The daemon's configuration; see muster.toml(5).")
	r.item("run.json", "In the daemon's folder while it runs: its process, the URL of its bus, its boot. By it the commands find the daemon.")
	r.section("SEE ALSO")
	r.line("muster.toml(5), nats(1)")
	return []byte(r.String())
}

// commandPage is the page of one command below muster, with those below it.
func commandPage(c *cobra.Command) []byte {
	r := newPage(pageName(c), 1, lower(c.Short))
	below := slices.DeleteFunc(slices.Clone(c.Commands()), func(sub *cobra.Command) bool { return !sub.IsAvailableCommand() })
	r.section("SYNOPSIS")
	if len(below) == 0 {
		r.synopsis(c)
	}
	for i, sub := range below {
		if i > 0 {
			r.macro(".br")
		}
		r.synopsis(sub)
	}
	r.section("DESCRIPTION")
	r.text(long(c))
	for i, sub := range below {
		if i == 0 {
			r.section("COMMANDS")
		}
		r.subsection(strings.TrimPrefix(sub.CommandPath(), c.Root().Name()+" "))
		r.text(long(sub))
		r.options(sub.LocalNonPersistentFlags())
		r.examples(sub)
	}
	if flags := c.LocalNonPersistentFlags(); len(below) == 0 && flags.HasAvailableFlags() {
		r.section("OPTIONS")
		r.options(flags)
	}
	if len(below) == 0 && c.Example != "" {
		r.section("EXAMPLES")
		r.examples(c)
	}
	r.section("SEE ALSO")
	r.line("muster(1), for the options that every command has and the exit codes")
	return []byte(r.String())
}

// configPage is muster.toml(5).
func configPage() ([]byte, error) {
	config := daemon.DefaultConfig()
	config.Dir = "/var/lib/muster" // as it is for root
	var text bytes.Buffer
	if err := config.Write(&text); err != nil {
		return nil, err
	}
	var defaults map[string]any
	if _, err := toml.Decode(text.String(), &defaults); err != nil {
		return nil, err
	}
	r := newPage("muster.toml", 5, "configuration of the muster daemon")
	r.section("SYNOPSIS")
	r.line(daemon.DefaultConfigFile)
	r.section("DESCRIPTION")
	r.text("The configuration of the daemon is TOML. It is read from " + daemon.DefaultConfigFile + `, or from the file that
"muster run --config" names. Then comes the environment, then the flags of "muster run". What is not
said anywhere has its default, and a key that is none is an error.

"muster config check" tells whether a file is right, and "muster config default" prints one that
explains every setting and changes none.`)
	r.section("SETTINGS")
	for _, s := range daemon.Settings() {
		meaning := s.Meaning
		if said := cmp.Or(s.Default, at(defaults, s.Key)); said != "" {
			meaning += " Default: " + said + "."
		}
		if s.Env != "" {
			meaning += " Environment: " + s.Env + "."
		}
		r.item(s.Key, meaning)
		if s.Example != "" {
			r.macro(".RS")
			r.verbatim(strings.Split(s.Example, "\n"))
			r.macro(".RE")
		}
	}
	r.section("THE DEFAULTS")
	r.verbatim(strings.Split(strings.TrimSpace(text.String()), "\n"))
	r.section("SEE ALSO")
	r.line("muster(1), muster-config(1), muster-run(1)")
	return []byte(r.String()), nil
}

// at gives the value of a key such as store.max_bytes as text, "" where there is none.
func at(table map[string]any, key string) string {
	first, rest, nested := strings.Cut(key, ".")
	switch value := table[first].(type) {
	case map[string]any:
		return at(value, rest)
	case nil:
		return ""
	default:
		if nested {
			return ""
		}
		return fmt.Sprint(value)
	}
}

// long is what a command's help says.
func long(c *cobra.Command) string {
	if c.Long != "" {
		return c.Long
	}
	return c.Short + "."
}

// synopsis shows how a command is written.
func (r *roff) synopsis(c *cobra.Command) {
	arguments := strings.Replace(strings.TrimPrefix(c.Use, c.Name()), " [flags]", "", 1)
	line := `\fB` + escape(c.CommandPath()) + `\fP`
	c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		flag := escape(strings.TrimSpace("--" + f.Name + " " + value(f)))
		if f.Annotations[cobra.BashCompOneRequiredFlag] == nil {
			flag = "[" + flag + "]"
		}
		line += " " + strings.ReplaceAll(flag, " ", `\ `)
	})
	r.macro(line + escape(arguments))
}

// options explains flags.
func (r *roff) options(flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" || f.Name == "version" {
			return
		}
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		_, usage := pflag.UnquoteUsage(f)
		usage = upper(usage)
		if !slices.Contains([]string{"", "0", "0s", "false", "[]"}, f.DefValue) {
			shown := f.DefValue
			if strings.Contains(shown, " ") {
				shown = `"` + shown + `"`
			}
			usage += fmt.Sprintf(" (default %s)", shown)
		}
		r.item(strings.TrimSpace(name+" "+value(f)), usage+".")
	})
}

// value names what a flag takes, "" for one that takes nothing.
func value(f *pflag.Flag) string {
	name, _ := pflag.UnquoteUsage(f)
	return name
}

func (r *roff) examples(c *cobra.Command) {
	if c.Example != "" {
		r.text("  " + strings.TrimSpace(c.Example))
	}
}

// lower begins a sentence small, as the name line of a page wants it.
func lower(text string) string { return strings.ToLower(text[:1]) + text[1:] }

func upper(text string) string { return strings.ToUpper(text[:1]) + text[1:] }
