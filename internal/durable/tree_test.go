package durable

import (
	"os"
	"path/filepath"
	"testing"
)

func TestCopyTree(t *testing.T) {
	from, beside := t.TempDir(), t.TempDir()
	to := filepath.Join(beside, "copy")
	if err := os.MkdirAll(filepath.Join(from, "a", "empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(from, "a", "file"), []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := CopyTree(from, to); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(to, "a", "file")); err != nil || string(text) != "content" {
		t.Errorf("copied %q, %v", text, err)
	}
	if info, err := os.Stat(filepath.Join(to, "a", "file")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("copied as %v, %v", info, err)
	}
	if info, err := os.Stat(filepath.Join(to, "a", "empty")); err != nil || !info.IsDir() {
		t.Errorf("an empty folder is %v, %v", info, err)
	}

	// What cannot be copied leaves nothing behind.
	if err := os.Symlink("file", filepath.Join(from, "a", "link")); err != nil {
		t.Fatal(err)
	}
	for _, source := range []string{from, filepath.Join(from, "nowhere")} {
		if CopyTree(source, filepath.Join(beside, "other")) == nil {
			t.Errorf("%s was copied", source)
		}
	}
	if CopyTree(filepath.Join(from, "a", "empty"), to) == nil {
		t.Error("a folder that is not empty was written over")
	}
	if entries, _ := os.ReadDir(beside); len(entries) != 1 {
		t.Errorf("something was left: %v", entries)
	}
}
