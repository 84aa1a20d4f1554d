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

// temporary is how the names of files begin that are not complete yet.
const temporary = ".tmp-"

// WriteFile replaces the file's content at once: it writes a file beside it, syncs it, renames it and syncs the
// folder. On an error the old content stands.
func WriteFile(path string, data []byte, mode fs.FileMode) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, temporary+"*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreGone(os.Remove(f.Name())))
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	return SyncDir(dir)
}

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
func Save(path string, data []byte) error {
	sum := sha256.Sum256(data)
	head := binary.BigEndian.AppendUint64(bytes.Clone(magic), uint64(len(data)))
	return WriteFile(path, append(append(head, sum[:]...), data...), 0o600)
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
	entries, err := os.ReadDir(path)
	if err != nil {
		return "", err
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), temporary) {
			if err := ignoreGone(os.Remove(filepath.Join(path, entry.Name()))); err != nil {
				return "", err
			}
		}
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
		return nil, errors.Join(fmt.Errorf("%s is locked by process %s", path, bytes.TrimSpace(holder[:n])), f.Close())
	}
	if err := errors.Join(f.Truncate(0), writePID(f)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f.Close, nil
}

func writePID(f *os.File) error {
	_, err := fmt.Fprintf(f, "%d\n", os.Getpid())
	return err
}
