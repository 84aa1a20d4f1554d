package seal

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"muster/internal/durable"
)

// The files beside a store.
const (
	keyName   = "store.key"
	tokenName = "store.seal"
)

// maxKeyFile is more than any key file has, so that one that is something else is known as such.
const maxKeyFile = 4096

// source is where a store's key is.
type source struct {
	path    string
	own     bool // made when it is not there
	private bool // nobody but its owner may read it; for a credential systemd sees to that
	user    int  // who may own it, besides root and the user of this process
	open    func(name string, flag int, mode fs.FileMode) (*os.File, error)
}

// source finds out where the key is. What was named is not passed over for something weaker.
func (o Options) source() (source, error) {
	open := o.Open
	if open == nil {
		open = os.OpenFile
	}
	switch {
	case o.Credential != "" && o.KeyFile != "":
		return source{}, fmt.Errorf("the store's key is to come from the credential %s and from the file %s; one of them would be right", o.Credential, o.KeyFile)
	case o.Credential != "":
		folder := os.Getenv("CREDENTIALS_DIRECTORY")
		if folder == "" {
			return source{}, fmt.Errorf("the store's key is to come from the credential %s, but $CREDENTIALS_DIRECTORY is not set; LoadCredential=%[1]s:FILE or LoadCredentialEncrypted=%[1]s:FILE in the unit of a systemd service sets it", o.Credential)
		}
		if o.Credential != filepath.Base(o.Credential) {
			return source{}, fmt.Errorf("the credential %s is a path; a name would be right", o.Credential)
		}
		return source{path: filepath.Join(folder, o.Credential), open: open}, nil
	case o.KeyFile != "":
		return source{path: o.KeyFile, private: true, user: o.User, open: open}, nil
	}
	return source{path: filepath.Join(o.Dir, keyName), own: true, private: true, user: o.User, open: os.OpenFile}, nil
}

// read gives the key; none is the zero Key where it could be made.
func (s source) read() (Key, error) {
	text, err := s.readFile()
	defer clear(text)
	switch {
	case errors.Is(err, fs.ErrNotExist) && s.own:
		return Key{}, nil
	case err != nil:
		return Key{}, fmt.Errorf("read the store's key: %w", err)
	}
	k, err := parseKey(text)
	if err != nil {
		return Key{}, fmt.Errorf("%s is no key: %w", s.path, err)
	}
	return k, nil
}

func (s source) readFile() (text []byte, err error) {
	f, err := s.open(s.path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe would keep us waiting
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := s.check(info); err != nil {
		return nil, err
	}
	text = make([]byte, maxKeyFile)
	n, err := io.ReadFull(f, text)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return text[:n], err
}

// check holds a key file against what keeps it secret.
func (s source) check(info fs.FileInfo) error {
	mode := info.Mode()
	owner := uint32(0)
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		owner = stat.Uid
	}
	switch {
	case !mode.IsRegular():
		return fmt.Errorf("%s is no regular file", s.path)
	case s.private && mode.Perm()&0o077 != 0:
		return fmt.Errorf("%s has the mode %#o, which lets others than its owner at it; 0600 would be right", s.path, mode.Perm())
	case s.private && owner != 0 && owner != uint32(os.Geteuid()) && owner != uint32(s.user):
		return fmt.Errorf("%s belongs to user %d, who could change it; %d or root would be right", s.path, owner, os.Geteuid())
	}
	return nil
}

// make makes the key, and returns when it is on disk.
func (s source) make() (Key, error) {
	k := newKey()
	text := append(hex.AppendEncode(make([]byte, 0, 2*keySize+1), k.bytes()), '\n')
	defer clear(text)
	if err := durable.WriteFile(s.path, text, 0o600); err != nil {
		return Key{}, fmt.Errorf("make the store's key: %w", err)
	}
	return k, nil
}
