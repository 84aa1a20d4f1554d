// Package durable writes files that a power cut cannot spoil: after a call returned, the whole content is on disk; if
// it did not return, the old content is. Saved files carry a checksum, so that a damaged one is known as such.
//
// It knows nothing of muster. Calls on different files may run side by side; writers of one file take turns.
package durable

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// ErrDamaged says that a saved file is not what was saved.
var ErrDamaged = errors.New("file is damaged")

// ErrLocked says that another process holds a lock.
var ErrLocked = errors.New("locked")

// temporary is how the names of files begin that are not complete yet.
const temporary = ".tmp-"

// WriteFile replaces the file's content at once: it writes a file beside it, syncs it, renames it and syncs the
// folder. On an error the old content stands.
func WriteFile(path string, data []byte, mode fs.FileMode) error {
	d, err := newDraft(path, data, mode)
	if err != nil {
		return err
	}
	return d.replace()
}

// draft is a file beside the one that it is to replace.
type draft struct {
	f    *os.File
	path string
}

// newDraft writes data beside a file. It does not sync; but there is room for it on the disk.
func newDraft(path string, data []byte, mode fs.FileMode) (*draft, error) {
	f, err := os.CreateTemp(filepath.Dir(path), temporary+"*")
	if err != nil {
		return nil, err
	}
	d := &draft{f: f, path: path}
	if _, err = f.Write(data); err == nil {
		err = f.Chmod(mode)
	}
	if err != nil {
		return nil, errors.Join(err, d.discard())
	}
	return d, nil
}

// rewrite replaces what stands in the draft.
func (d *draft) rewrite(data []byte) error {
	_, err := d.f.WriteAt(data, 0)
	if err == nil {
		err = d.f.Truncate(int64(len(data)))
	}
	return err
}

// replace puts the draft in the place of the file, for good. On an error nothing is left of it.
func (d *draft) replace() error {
	if err := d.f.Sync(); err != nil {
		return errors.Join(err, d.discard())
	}
	if err := errors.Join(d.f.Close(), os.Rename(d.f.Name(), d.path)); err != nil {
		return errors.Join(err, ignoreGone(os.Remove(d.f.Name())))
	}
	return SyncDir(filepath.Dir(d.path))
}

// discard removes the draft.
func (d *draft) discard() error { return errors.Join(d.f.Close(), os.Remove(d.f.Name())) }

// SyncDir makes what happened to the names in a folder last.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// The head of a saved file: what it is, how long the content is, and its SHA-256.
var magic = []byte("muster\x00\x01")

const headSize = 8 + 8 + sha256.Size

// Save writes data with a checksum, as [WriteFile] does, readable by the owner alone.
func Save(path string, data []byte) error { return WriteFile(path, seal(data), 0o600) }

// seal puts the head before the data.
func seal(data []byte) []byte {
	sum := sha256.Sum256(data)
	head := binary.BigEndian.AppendUint64(bytes.Clone(magic), uint64(len(data)))
	return append(append(head, sum[:]...), data...)
}

// Load reads what [Save] wrote. Anything else is [ErrDamaged] with the file's name; no file is [fs.ErrNotExist].
func Load(path string) ([]byte, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	data, err := open(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return data, nil
}

// open takes the head off.
func open(content []byte) ([]byte, error) {
	if len(content) < headSize || !bytes.Equal(content[:len(magic)], magic) {
		return nil, fmt.Errorf("%w: its head is not one", ErrDamaged)
	}
	data := content[headSize:]
	if binary.BigEndian.Uint64(content[len(magic):]) != uint64(len(data)) {
		return nil, fmt.Errorf("%w: its length is wrong", ErrDamaged)
	}
	if sum := sha256.Sum256(data); !bytes.Equal(sum[:], content[headSize-sha256.Size:headSize]) {
		return nil, fmt.Errorf("%w: its checksum is wrong", ErrDamaged)
	}
	return data, nil
}

// Dir is a folder of saved files.
type Dir string

// OpenDir makes the folder if need be, and sweeps out what an interrupted writer left.
func OpenDir(path string) (Dir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return "", err
	}
	if err := Sweep(path); err != nil {
		return "", err
	}
	return Dir(path), nil
}

// Save writes the file of that name; see [Save].
func (d Dir) Save(name string, data []byte) error {
	path, err := d.path(name)
	if err != nil {
		return err
	}
	return Save(path, data)
}

// Draft makes sure that there is room for the file of that name, with about that content: commit then saves it, with
// what is to be in it, and does not fail for a full disk if that is not longer. Until then, and after discard, the file
// is as it was. One of the two must be called.
func (d Dir) Draft(name string, data []byte) (commit func(data []byte) error, discard func() error, err error) {
	path, err := d.path(name)
	if err != nil {
		return nil, nil, err
	}
	room, err := newDraft(path, seal(data), 0o600)
	if err != nil {
		return nil, nil, err
	}
	commit = func(data []byte) error {
		if err := room.rewrite(seal(data)); err != nil {
			return errors.Join(err, room.discard())
		}
		return room.replace()
	}
	return commit, room.discard, nil
}

// Load reads the file of that name; see [Load].
func (d Dir) Load(name string) ([]byte, error) {
	path, err := d.path(name)
	if err != nil {
		return nil, err
	}
	return Load(path)
}

// Remove removes the file of that name for good; one that is not there is no error.
func (d Dir) Remove(name string) error {
	path, err := d.path(name)
	if err != nil {
		return err
	}
	if err := ignoreGone(os.Remove(path)); err != nil {
		return err
	}
	return SyncDir(string(d))
}

// List gives the names of the files, sorted.
func (d Dir) List() ([]string, error) {
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		if entry.Type().IsRegular() && !strings.HasPrefix(entry.Name(), temporary) {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

func (d Dir) path(name string) (string, error) {
	if name == "" || name != filepath.Base(name) || strings.HasPrefix(name, ".") {
		return "", fmt.Errorf("%q is not a file name", name)
	}
	return filepath.Join(string(d), name), nil
}

// Lock keeps other processes off: it makes the file, locks it, and writes the process's number into it. The lock
// ends with the process, or with unlock. Whoever holds it already is named in the error.
func Lock(path string) (unlock func() error, err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder := make([]byte, 16)
		n, _ := f.ReadAt(holder, 0) // for the message only
		return nil, errors.Join(fmt.Errorf("%s is %w by process %s", path, ErrLocked, bytes.TrimSpace(holder[:n])), f.Close())
	}
	if err := f.Truncate(0); err == nil {
		_, _ = fmt.Fprintf(f, "%d\n", os.Getpid()) // for the message only: a full disk is no reason not to lock
	}
	return f.Close, nil
}
