package durable

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// CopyTree copies a folder with everything in it, as [WriteFile] writes a file: after it returned, the whole copy is on
// disk; if it did not return, there is none. The copy must not be there before.
func CopyTree(from, to string) (err error) {
	work, err := os.MkdirTemp(filepath.Dir(to), temporary+"*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(work))
		}
	}()
	err = filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		info, err := entry.Info()
		switch {
		case err != nil:
			return err
		case name == ".":
			return os.Chmod(work, info.Mode().Perm())
		case entry.IsDir():
			return os.Mkdir(filepath.Join(work, name), info.Mode().Perm())
		case entry.Type().IsRegular():
			return copyFile(path, filepath.Join(work, name), info.Mode().Perm())
		}
		return &fs.PathError{Op: "copy", Path: path, Err: errors.New("neither a file nor a folder")}
	})
	if err == nil {
		err = SyncTree(work)
	}
	if err != nil {
		return err
	}
	if err := os.Rename(work, to); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(to))
}

func copyFile(from, to string, mode fs.FileMode) error {
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	w, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return errors.Join(err, r.Close())
	}
	_, err = io.Copy(w, r)
	return errors.Join(err, w.Close(), r.Close())
}

// SyncTree makes everything in a folder last: the files, their names, and the folders.
func SyncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return SyncDir(path) // a file is synced in the same way
	})
}

// Sweep removes what interrupted writers left in a folder. Nobody may write there meanwhile.
func Sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), temporary) {
			if err := os.RemoveAll(filepath.Join(dir, entry.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
