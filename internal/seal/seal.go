package seal

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"muster/internal/durable"
)

// Options say where a store is, where its key is, and what the key must open. Dir is required and there already.
type Options struct {
	Dir        string // beside the store: store.seal is here, and store.key unless another key is named
	Credential string // the systemd credential that is the key
	KeyFile    string // or the file that is
	// Store looks at the store with its key, or with none, and touches nothing. Nil: there is no store.
	Store func(Key) (Finding, error)
	// User may own the key, besides root and the user of this process.
	User int
	// Open opens the key where it was named. Nil: os.OpenFile.
	Open  func(name string, flag int, mode fs.FileMode) (*os.File, error)
	Files string       // the folder of sealed files; "" or not there: none
	Log   *slog.Logger // nil: no log
}

// Finding is what something says of a key.
type Finding struct {
	Sealed bool // there is something that only a key opens
	Opens  bool // this one does
}

// The purposes of derived keys.
const (
	forStore = "store"
	forFiles = "files"
	forToken = "token"
)

// Seal is a key that was found to be the right one.
type Seal struct {
	key   Key
	path  string // of the token
	files string
	fresh bool
}

// Open finds the key and holds it against everything that it must open; the table in the package comment says how. A
// refusal leaves every byte as it was. Nobody else may use the folder.
func Open(opts Options) (*Seal, error) {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	from, err := opts.source()
	if err != nil {
		return nil, err
	}
	k, err := from.read()
	if err != nil {
		return nil, err
	}
	s := &Seal{key: k, path: filepath.Join(opts.Dir, tokenName), files: opts.Files}
	if err := s.prove(opts, from); err != nil {
		k.Wipe()
		return nil, err
	}
	if err := durable.Sweep(opts.Dir); err != nil { // it may be half a key
		return nil, err
	}
	if !k.Present() {
		if s.key, err = from.make(); err != nil {
			return nil, err
		}
		opts.Log.Warn("made a key beside the store: whoever copies the whole disk has it too; a credential or a key file elsewhere is worth more", "file", from.path)
	}
	if beside := filepath.Join(opts.Dir, keyName); !from.own && exists(beside) {
		opts.Log.Warn("the key beside the store is not in use; if it is the same one, it is worth removing", "file", beside, "in_use", from.path)
	}
	return s, nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// prove is the table.
func (s *Seal) prove(opts Options, from source) error {
	token, tokenErr := durable.Load(s.path)
	s.fresh = errors.Is(tokenErr, fs.ErrNotExist)
	damaged := errors.Is(tokenErr, durable.ErrDamaged)
	if tokenErr != nil && !s.fresh && !damaged {
		return fmt.Errorf("read the store's token: %w", tokenErr)
	}
	foreign, opens, err := s.try(opts)
	switch {
	case err != nil:
		return err
	case !s.key.Present() && s.fresh && foreign == "":
		return nil
	case !s.key.Present():
		return refuse("the store in %s is encrypted and its key is missing: there is no %s; put it back from where you keep a copy, or name the credential or the file that is the key", opts.Dir, from.path)
	case damaged:
		return refuse("the store's token is damaged: %w; put it back from where you keep a copy, or remove it: with the right key it is made anew", tokenErr)
	case s.fresh && foreign != "":
		return refuse("%s is not the key of the store in %s: it does not open %s; name the key that it was encrypted with", from.path, opts.Dir, foreign)
	case s.fresh:
		if opens {
			opts.Log.Warn("the store's token is missing and will be made anew: the key opens the store", "file", s.path)
		}
		return nil
	}
	_, shut := s.tokenBox().open(tokenName, token)
	switch {
	case shut != nil && opens && foreign == "":
		return refuse("%s is the token of another store: %s opens the store, but not the token; put the store's own token back, or remove this one: it is made anew", s.path, from.path)
	case shut != nil:
		return refuse("%s is not the key of the store in %s: it does not open %s; name the key that it was encrypted with", from.path, opts.Dir, s.path)
	case foreign != "":
		return refuse("%s opens %s, but not %s, which is another's; put back what belongs together", from.path, s.path, foreign)
	}
	return nil
}

// try asks everything that may be sealed: what the key does not open, "" for nothing, and whether there is something that
// it does.
func (s *Seal) try(opts Options) (foreign string, opens bool, err error) {
	if opts.Store != nil {
		k := s.key.derive(forStore)
		defer k.Wipe()
		f, err := opts.Store(k)
		if err != nil {
			return "", false, fmt.Errorf("look at the store: %w", err)
		}
		if f.Sealed && !f.Opens {
			foreign = "the store"
		}
		opens = f.Opens
	}
	if opts.Files != "" {
		k := s.key.derive(forFiles)
		defer k.Wipe()
		f, err := look(opts.Files, k)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", false, fmt.Errorf("look at the sealed files: %w", err)
		}
		if f.Sealed && !f.Opens && foreign == "" {
			foreign = "what is sealed in " + opts.Files
		}
		opens = opens || f.Opens
	}
	return foreign, opens, nil
}

// refuse is an error after which all is as it was.
func refuse(format string, args ...any) error {
	return fmt.Errorf(format+"; nothing was changed", args...)
}

// Fresh reports whether there is no token yet: the store is new, or from before there was a seal.
func (s *Seal) Fresh() bool { return s.fresh }

// Confirm makes the token, if there is none, and returns when it is on disk.
func (s *Seal) Confirm() error {
	if !s.fresh {
		return nil
	}
	if err := durable.Save(s.path, s.tokenBox().seal(tokenName, nil)); err != nil {
		return fmt.Errorf("make the store's token: %w", err)
	}
	s.fresh = false
	return nil
}

func (s *Seal) tokenBox() box {
	k := s.key.derive(forToken)
	defer k.Wipe()
	return newBox(k)
}

// Store gives the key of the store.
func (s *Seal) Store() Key { return s.key.derive(forStore) }

// Files opens the folder of sealed files, and makes it if need be.
func (s *Seal) Files() (Dir, error) {
	files, err := durable.OpenDir(s.files)
	if err != nil {
		return Dir{}, err
	}
	k := s.key.derive(forFiles)
	defer k.Wipe()
	return Dir{files: files, box: newBox(k)}, nil
}

// Forget wipes the key. What was derived from it is whoever's it was given to.
func (s *Seal) Forget() { s.key.Wipe() }
