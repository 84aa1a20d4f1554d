package seal

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// tree gives every file below a folder with its mode and content.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		content := []byte(nil)
		if info.Mode().IsRegular() {
			content, err = os.ReadFile(path)
		}
		files[strings.TrimPrefix(path, dir)] = info.Mode().String() + " " + string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// vault is a store of which the test says what a key opens.
type vault struct {
	t    *testing.T
	dir  string
	owns string // the key of the store, "" for one that is not encrypted
	log  bytes.Buffer
}

func (v *vault) options() Options {
	return Options{
		Dir: v.dir, Files: filepath.Join(v.dir, "files"), Log: slog.New(slog.NewTextHandler(&v.log, nil)),
		Store: func(k Key) (Finding, error) {
			return Finding{Sealed: v.owns != "", Opens: v.owns != "" && k.Reveal() == v.owns}, nil
		},
	}
}

// used gives a store that was opened and written to.
func used(t *testing.T) *vault {
	t.Helper()
	v := &vault{t: t, dir: t.TempDir()}
	s := v.open()
	v.owns = s.Store().Reveal()
	d, err := s.Files()
	if err == nil {
		err = d.Save("one", []byte("secret"))
	}
	if err != nil {
		t.Fatal(err)
	}
	v.log.Reset()
	return v
}

func (v *vault) open() *Seal {
	v.t.Helper()
	s, err := Open(v.options())
	if err == nil {
		err = s.Confirm()
	}
	if err != nil {
		v.t.Fatal(err)
	}
	return s
}

func (v *vault) path(name string) string { return filepath.Join(v.dir, name) }

func (v *vault) remove(name string) {
	v.t.Helper()
	if err := os.RemoveAll(v.path(name)); err != nil {
		v.t.Fatal(err)
	}
}

func (v *vault) write(name, content string) {
	v.t.Helper()
	if err := os.WriteFile(v.path(name), []byte(content), 0o600); err != nil {
		v.t.Fatal(err)
	}
}

// take copies a file of another store over this one's.
func (v *vault) take(from *vault, name string) {
	v.t.Helper()
	content, err := os.ReadFile(from.path(name))
	if err != nil {
		v.t.Fatal(err)
	}
	v.write(name, string(content))
}

func TestFirstStart(t *testing.T) {
	v := &vault{t: t, dir: t.TempDir()}
	v.write(".tmp-0815", "half a key") // of a start that was cut off
	s := v.open()
	if s.Fresh() || s.Store().Reveal() == s.key.Reveal() {
		t.Errorf("opened as %+v", s)
	}
	files := tree(t, v.dir)
	if len(files) != 3 || !strings.HasPrefix(files["/store.key"], "-rw------- ") || !strings.HasPrefix(files["/store.seal"], "-rw------- ") {
		t.Errorf("made %q", files)
	}
	if strings.Count(v.log.String(), "\n") != 1 || !strings.Contains(v.log.String(), "whoever copies the whole disk has it too") {
		t.Errorf("log %q", v.log.String())
	}
	v.log.Reset()
	if again := v.open(); again.Store().Reveal() != s.Store().Reveal() || again.Fresh() {
		t.Error("opened again it has another key")
	}
	if v.log.Len() > 0 || !maps.Equal(files, tree(t, v.dir)) {
		t.Errorf("opening again changes something: %s", v.log.String())
	}
	s.Forget()
	if s.Store().Reveal() == v.open().Store().Reveal() {
		t.Error("what is forgotten is still there")
	}
}

// TestPowerCut has the power fail after each step of a first start.
func TestPowerCut(t *testing.T) {
	v := &vault{t: t, dir: t.TempDir()}
	first, err := Open(v.options())
	if err != nil || !first.Fresh() {
		t.Fatalf("%+v, %v", first, err)
	}
	key := first.Store().Reveal()
	// The key is made and the token is not.
	second := v.open()
	if second.Store().Reveal() != key {
		t.Error("the key that was made is not the one in use")
	}
	// The token is made and the store is not.
	v.log.Reset()
	if third := v.open(); third.Store().Reveal() != key || v.log.Len() > 0 {
		t.Errorf("the third start says %q", v.log.String())
	}
}

// TestRefused has everything that does not belong together, and nothing may change.
func TestRefused(t *testing.T) {
	other := used(t)
	for name, tt := range map[string]struct {
		change func(v *vault)
		want   []string
	}{
		"no key": {
			func(v *vault) { v.remove(keyName) },
			[]string{"is encrypted and its key is missing: there is no", "store.key"},
		},
		"no key and no token": {
			func(v *vault) { v.remove(keyName); v.remove(tokenName) },
			[]string{"its key is missing"},
		},
		"no key, no token, only sealed files": {
			func(v *vault) { v.remove(keyName); v.remove(tokenName); v.owns = "" },
			[]string{"its key is missing"},
		},
		"no key, only a token": {
			func(v *vault) { v.remove(keyName); v.remove("files"); v.owns = "" },
			[]string{"its key is missing"},
		},
		"another key": {
			func(v *vault) { v.take(other, keyName) },
			[]string{"is not the key of the store", "does not open", "store.seal; name the key that it was encrypted with"},
		},
		"another key, no token": {
			func(v *vault) { v.take(other, keyName); v.remove(tokenName) },
			[]string{"is not the key of the store", "it does not open the store"},
		},
		"another key, only sealed files": {
			func(v *vault) { v.take(other, keyName); v.remove(tokenName); v.owns = "" },
			[]string{"is not the key of the store", "does not open what is sealed in"},
		},
		"another token": {
			func(v *vault) { v.take(other, tokenName) },
			[]string{"is the token of another store", "or remove this one: it is made anew"},
		},
		"another key and its token": {
			func(v *vault) { v.take(other, keyName); v.take(other, tokenName) },
			[]string{"but not the store, which is another's"},
		},
		"another store": {
			func(v *vault) { v.owns = other.owns },
			[]string{"but not the store, which is another's"},
		},
		"another's files": {
			func(v *vault) { v.take(other, "files/one") },
			[]string{"but not what is sealed in"},
		},
		"a damaged token": {
			func(v *vault) { v.write(tokenName, "muster\x00\x01") },
			[]string{"token is damaged", "or remove it: with the right key it is made anew"},
		},
		"an empty token": {
			func(v *vault) { v.write(tokenName, "") },
			[]string{"token is damaged"},
		},
		"an empty key": {
			func(v *vault) { v.write(keyName, "") },
			[]string{"store.key is no key: it has 0 bytes"},
		},
		"a key for everybody": {
			func(v *vault) { _ = os.Chmod(v.path(keyName), 0o644) }, // the error is seen below
			[]string{"has the mode 0644, which lets others than its owner at it; 0600 would be right"},
		},
		"a folder for a key": {
			func(v *vault) { v.remove(keyName); _ = os.Mkdir(v.path(keyName), 0o700) },
			[]string{"store.key is no regular file"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := used(t)
			tt.change(v)
			before := tree(t, v.dir)
			_, err := Open(v.options())
			if err == nil {
				t.Fatal("opened")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
			if !maps.Equal(before, tree(t, v.dir)) {
				t.Error("a refusal has changed something")
			}
			if strings.Contains(v.log.String(), "made a key") {
				t.Errorf("a key was made: %s", v.log.String())
			}
		})
	}
}

// TestTokenMadeAnew takes the token away: the key shows by itself that it is the right one.
func TestTokenMadeAnew(t *testing.T) {
	v := used(t)
	v.remove(tokenName)
	v.open()
	if !strings.Contains(v.log.String(), "token is missing and will be made anew") {
		t.Errorf("log %q", v.log.String())
	}
	if _, ok := tree(t, v.dir)["/store.seal"]; !ok {
		t.Error("there is no token")
	}
	v.owns = ""
	v.remove("files")
	v.log.Reset()
	if v.open(); v.log.Len() > 0 {
		t.Errorf("a store that is not there: %q", v.log.String())
	}
}

func TestSources(t *testing.T) {
	elsewhere := t.TempDir()
	file := filepath.Join(elsewhere, "key")
	if err := os.WriteFile(file, []byte("0123456789abcdefghijklmnopqrstuv"), 0o600); err != nil {
		t.Fatal(err)
	}
	v := &vault{t: t, dir: t.TempDir()}
	opts := v.options()
	opts.KeyFile = file
	named, err := Open(opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := named.Confirm(); err != nil {
		t.Fatal(err)
	}
	if files := tree(t, v.dir); len(files) != 2 {
		t.Errorf("beside the store is %q", files)
	}

	// The same key as a credential, which its group may read: that is how systemd lends one.
	if err := os.Chmod(file, 0o440); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", elsewhere)
	opts.KeyFile, opts.Credential = "", "key"
	lent, err := Open(opts)
	if err != nil || lent.Store().Reveal() != named.Store().Reveal() {
		t.Errorf("as a credential: %v", err)
	}
	v.write(keyName, hex.EncodeToString([]byte("0123456789abcdefghijklmnopqrstuv")))
	if _, err := Open(opts); err != nil || !strings.Contains(v.log.String(), "the key beside the store is not in use") {
		t.Errorf("with another key beside the store: %v, %s", err, v.log.String())
	}

	v.owns = named.Store().Reveal()
	before := tree(t, v.dir)
	for want, change := range map[string]func(o *Options){
		"no such file or directory":                        func(o *Options) { o.Credential = "other" },
		"is a path; a name would be right":                 func(o *Options) { o.Credential = "../key" },
		"one of them would be right":                       func(o *Options) { o.KeyFile = file },
		"has the mode 0440":                                func(o *Options) { o.Credential, o.KeyFile = "", file },
		"read the store's key: open /nowhere/key: no such": func(o *Options) { o.Credential, o.KeyFile = "", "/nowhere/key" },
		"look at the store: unreadable":                    func(o *Options) { o.Store = func(Key) (Finding, error) { return Finding{}, errors.New("unreadable") } },
		"look at the sealed files: open":                   func(o *Options) { o.Files = v.path(keyName) },
	} {
		changed := opts
		change(&changed)
		if _, err := Open(changed); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if !maps.Equal(before, tree(t, v.dir)) {
		t.Error("a refusal has changed something")
	}
	v.remove(tokenName)
	if err := os.Mkdir(v.path(tokenName), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(opts); err == nil || !strings.Contains(err.Error(), "read the store's token: read") {
		t.Errorf("a token that cannot be read: %v", err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	if _, err := Open(opts); err == nil || !strings.Contains(err.Error(), "LoadCredentialEncrypted=key:FILE in the unit of a systemd service sets it") {
		t.Errorf("without systemd: %v", err)
	}
}

// owned is a file of some user's.
type owned struct {
	fs.FileInfo
	uid uint32
}

func (o owned) Sys() any { return &syscall.Stat_t{Uid: o.uid} }

func TestOwner(t *testing.T) {
	v := used(t)
	info, err := os.Lstat(v.path(keyName))
	if err != nil {
		t.Fatal(err)
	}
	s := source{path: "key", private: true}
	mine := uint32(os.Geteuid())
	for uid, want := range map[uint32]string{0: "", mine: "", mine + 1: fmt.Sprintf("key belongs to user %d, who could change it; %d or root would be right", mine+1, mine)} {
		err := s.check(owned{info, uid})
		if err == nil && want != "" || err != nil && err.Error() != want {
			t.Errorf("of user %d: %v, want %q", uid, err, want)
		}
	}
	if err := (source{path: "key"}).check(owned{info, mine + 1}); err != nil {
		t.Errorf("a credential: %v", err)
	}
}
