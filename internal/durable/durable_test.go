package durable

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSaveLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if _, err := Load(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	for _, want := range []string{"first", "", "the third"} {
		if err := Save(path, []byte(want)); err != nil {
			t.Fatal(err)
		}
		if got, err := Load(path); err != nil || string(got) != want {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
}

func TestDraft(t *testing.T) {
	path := t.TempDir()
	dir, err := OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := dir.Save("file", []byte("old")); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "shorter", "as long as it was drafted", "longer, which needs room that was not asked for"} {
		commit, _, err := dir.Draft("file", []byte("as long as it was drafted"))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := dir.Load("file"); err != nil || string(got) == text {
			t.Errorf("before the commit: %q, %v", got, err)
		}
		if err := commit([]byte(text)); err != nil {
			t.Error(err)
		}
		if got, err := dir.Load("file"); err != nil || string(got) != text {
			t.Errorf("committed %q, got %q, %v", text, got, err)
		}
		_, discard, err := dir.Draft("file", []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		if err := discard(); err != nil {
			t.Error(err)
		}
		if got, err := dir.Load("file"); err != nil || string(got) != text {
			t.Errorf("after a discarded draft: %q, %v", got, err)
		}
	}
	if _, _, err := dir.Draft("../file", nil); err == nil {
		t.Error("a draft outside of the folder")
	}
	if entries, err := os.ReadDir(path); err != nil || len(entries) != 1 {
		t.Errorf("drafts are left: %v, %v", entries, err)
	}
}

// TestDamage flips every bit of a file and cuts it at every length.
func TestDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := Save(path, []byte("content")); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, content []byte) {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) {
			t.Fatalf("%s: %v", what, err)
		}
	}
	for i := range len(whole) * 8 {
		flipped := bytes.Clone(whole)
		flipped[i/8] ^= 1 << (i % 8)
		check("a flipped bit", flipped)
	}
	for i := range whole {
		check("a cut", whole[:i])
	}
	check("more", append(whole, 0))
}

func TestDir(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b")
	dir, err := OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(dir.Save("one", []byte("1")), dir.Save("two", []byte("2")), dir.Remove("two"), dir.Remove("three")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(path, temporary+"x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if names, err := dir.List(); err != nil || strings.Join(names, " ") != "one" {
		t.Errorf("List: %v, %v", names, err)
	}
	if _, err := OpenDir(path); err != nil {
		t.Fatal(err)
	}
	if entries, _ := os.ReadDir(path); len(entries) != 1 {
		t.Errorf("what an interrupted writer left is still there: %v", entries)
	}
	for _, name := range []string{"", ".", "..", "a/b", "../x", ".hidden"} {
		if dir.Save(name, nil) == nil || dir.Remove(name) == nil {
			t.Errorf("%q was taken for a name", name)
		}
		if _, err := dir.Load(name); err == nil {
			t.Errorf("%q was taken for a name", name)
		}
	}
}

// TestWriteFails shows that a failed write leaves the old content and nothing else.
func TestWriteFails(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "taken"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(filepath.Join(dir, "taken"), []byte("x"), 0o600); err == nil {
		t.Error("a folder was overwritten")
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("something was left: %v", entries)
	}
	if WriteFile(filepath.Join(dir, "nowhere", "x"), nil, 0o600) == nil {
		t.Error("a folder that is not there was written to")
	}
}

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(path); err == nil || !strings.Contains(err.Error(), "is locked by process") {
		t.Errorf("a second lock: %v", err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	again, err := Lock(path)
	if err != nil {
		t.Fatalf("after unlock: %v", err)
	}
	if err := again(); err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(filepath.Join(path, "x")); err == nil {
		t.Error("a lock nowhere")
	}
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte("muster\x00\x01"))
	f.Fuzz(func(_ *testing.T, content []byte) { _, _ = open(content) })
}
