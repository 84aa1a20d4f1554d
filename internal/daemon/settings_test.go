package daemon

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"
)

// keysOf lists the keys of a type as the settings name them.
func keysOf(t reflect.Type, above string) (keys []string) {
	switch {
	case t.Kind() == reflect.Map:
		return keysOf(t.Elem(), above+".<STATE>")
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		return keysOf(t.Elem(), above)
	case t.Kind() != reflect.Struct:
		return []string{strings.TrimPrefix(above, ".")}
	}
	for _, f := range reflect.VisibleFields(t) {
		keys = append(keys, keysOf(f.Type, above+"."+f.Tag.Get("toml"))...)
	}
	return keys
}

// TestSettings wants every key of the configuration explained, and no other.
func TestSettings(t *testing.T) {
	var got []string
	for _, s := range Settings() {
		got = append(got, s.Key)
		if !strings.HasSuffix(s.Meaning, ".") {
			t.Errorf("%s: %q is no sentence", s.Key, s.Meaning)
		}
	}
	want := keysOf(reflect.TypeFor[Config](), "")
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings (-Config +explained):\n%s", diff)
	}
}

// TestExplain reads the commented file as it is, with its settings made live, and with its examples too.
func TestExplain(t *testing.T) {
	var b strings.Builder
	if err := DefaultConfig().Explain(&b); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if len(line) > 101 || strings.HasSuffix(line, " \n") {
			t.Errorf("%q is too long, or ends in a space", line)
		}
	}
	live := regexp.MustCompile(`(?m)^#(\S)`).ReplaceAllString(b.String(), "$1")
	for name, text := range map[string]string{"as it is": b.String(), "live": live} {
		if diff := cmp.Diff(DefaultConfig(), load(t, text)); diff != "" {
			t.Errorf("%s (-default +read):\n%s", name, diff)
		}
	}
	var read map[string]any
	examples := regexp.MustCompile(`(?m)^#   `).ReplaceAllString(live, "")
	if meta, err := toml.Decode(examples, &read); err != nil {
		t.Errorf("with the examples: %v\n%s", err, examples)
	} else if !meta.IsDefined("hold", "DHCP", "on_limit") || !meta.IsDefined("required") {
		t.Error("the examples are not live")
	}
	for _, key := range keysOf(reflect.TypeFor[Config](), "") {
		path := strings.Split(key, ".")
		if last := path[len(path)-1]; last != "<STATE>" && !regexp.MustCompile(`(?m)^`+last+` = `).MatchString(examples) {
			t.Errorf("%s stands nowhere", key)
		}
	}
	if err := load(t, examples).Check(); err != nil {
		t.Errorf("with the examples: %v", err)
	}
}

// TestSettingsEnvironment holds what is said of the environment against what is read from it.
func TestSettingsEnvironment(t *testing.T) {
	for _, s := range Settings() {
		c := DefaultConfig()
		if c.environment([]string{s.Env + "=elsewhere"}); (s.Env == "") != cmp.Equal(c, DefaultConfig()) {
			t.Errorf("%s is said to be read from %q", s.Key, s.Env)
		}
	}
}

func TestDurations(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"0s": 0, "10s": 10 * time.Second, "1m": time.Minute, "1m30s": 90 * time.Second, "6h": 6 * time.Hour, "1h0m1s": time.Hour + time.Second,
		"1h10m": 70 * time.Minute, "250ms": 250 * time.Millisecond,
	} {
		text, err := Duration(d).MarshalText()
		if err != nil || string(text) != want {
			t.Errorf("%v is written as %q, %v; want %q", d, text, err, want)
		}
		var back Duration
		if err := back.UnmarshalText(text); err != nil || time.Duration(back) != d {
			t.Errorf("%q is read as %v, %v", text, back, err)
		}
	}
}
