package seal

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"muster/internal/durable"
)

// sealed opens a folder of sealed files below dir.
func sealed(t *testing.T, dir string) Dir {
	t.Helper()
	s, err := Open(Options{Dir: dir, Files: filepath.Join(dir, "files")})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Confirm(); err != nil {
		t.Fatal(err)
	}
	d, err := s.Files()
	if err != nil {
		t.Fatal(err)
	}
	s.Forget()
	return d
}

func TestDir(t *testing.T) {
	dir := t.TempDir()
	d := sealed(t, dir)
	if _, err := d.Load("a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	for _, want := range []string{"secret one", "", "secret three"} {
		if err := d.Save("a", []byte(want)); err != nil {
			t.Fatal(err)
		}
		if got, err := d.Load("a"); err != nil || string(got) != want {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
	_, discard, err := d.Draft("a", []byte("secret draft"))
	if err != nil {
		t.Fatal(err)
	}
	if drafted, err := filepath.Glob(filepath.Join(dir, "files", ".tmp-*")); err != nil || len(drafted) != 1 {
		t.Errorf("drafts %v, %v", drafted, err)
	} else if content, err := os.ReadFile(drafted[0]); err != nil || len(content) < 40 || bytes.Contains(content, []byte("secret")) {
		t.Errorf("the draft is %q, %v", content, err)
	}
	if err := discard(); err != nil {
		t.Error(err)
	}
	if got, err := d.Load("a"); err != nil || string(got) != "secret three" {
		t.Errorf("after a discarded draft: %q, %v", got, err)
	}
	commit, _, err := d.Draft("a", []byte("draft"))
	if err != nil {
		t.Fatal(err)
	}
	if err := commit([]byte("secret four")); err != nil {
		t.Fatal(err)
	}
	if got, err := d.Load("a"); err != nil || string(got) != "secret four" {
		t.Errorf("after a draft: %q, %v", got, err)
	}
	if _, _, err := d.Draft("../a", nil); err == nil {
		t.Error("a draft nowhere")
	}
	if names, err := d.List(); err != nil || !slices.Equal(names, []string{"a"}) {
		t.Errorf("files %v, %v", names, err)
	}
	path := filepath.Join(dir, "files", "a")
	content, err := os.ReadFile(path)
	if err != nil || bytes.Contains(content, []byte("secret")) {
		t.Errorf("on the disk is %q, %v", content, err)
	}
	if again, err := sealed(t, dir).Load("a"); err != nil || string(again) != "secret four" {
		t.Errorf("opened again: %q, %v", again, err)
	}

	for what, damage := range map[string]func() error{
		"moved to another name":   func() error { return os.Rename(path, filepath.Join(dir, "files", "b")) },
		"saved in plain":          func() error { return d.files.Save("b", []byte("planted")) },
		"sealed with another key": func() error { return sealed(t, t.TempDir()).copyTo(d, "b") },
		"cut":                     func() error { return d.files.Save("b", append(bytes.Clone(head), 1, 2, 3)) },
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		if data, err := d.Load("b"); !errors.Is(err, durable.ErrDamaged) {
			t.Errorf("%s: %q, %v", what, data, err)
		}
	}
	if err := d.Remove("b"); err != nil {
		t.Error(err)
	}
	if _, err := d.Load("b"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a removed file: %v", err)
	}
}

// copyTo saves a file of this folder, as it is on the disk, in another.
func (d Dir) copyTo(other Dir, name string) error {
	if err := d.Save(name, []byte("theirs")); err != nil {
		return err
	}
	content, err := d.files.Load(name)
	return errors.Join(err, other.files.Save(name, content))
}

// TestBits flips every bit of what is sealed.
func TestBits(t *testing.T) {
	b := newBox(newKey())
	whole := b.seal("name", []byte("content"))
	if data, err := b.open("name", whole); err != nil || string(data) != "content" {
		t.Fatalf("%q, %v", data, err)
	}
	for i := range len(whole) * 8 {
		flipped := bytes.Clone(whole)
		flipped[i/8] ^= 1 << (i % 8)
		if data, err := b.open("name", flipped); err == nil {
			t.Fatalf("with bit %d flipped it is %q", i, data)
		}
	}
}

func TestAdopt(t *testing.T) {
	dir := t.TempDir()
	plain, err := durable.OpenDir(filepath.Join(dir, "files"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(plain.Save("a", []byte("secret a")), plain.Save("b", []byte("secret b")), plain.Save("damaged", nil)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "files", "damaged"), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := sealed(t, dir)
	if err := d.Save("c", []byte("sealed before")); err != nil {
		t.Fatal(err)
	}
	if count, err := d.Adopt(); err != nil || count != 2 {
		t.Errorf("%d adopted, %v", count, err)
	}
	if count, err := d.Adopt(); err != nil || count != 0 {
		t.Errorf("%d adopted again, %v", count, err)
	}
	for name, want := range map[string]string{"a": "secret a", "b": "secret b", "c": "sealed before"} {
		if got, err := d.Load(name); err != nil || string(got) != want {
			t.Errorf("%s is %q, %v", name, got, err)
		}
	}
	if _, err := d.Load("damaged"); !errors.Is(err, durable.ErrDamaged) {
		t.Errorf("a damaged file: %v", err)
	}
	if names, err := d.List(); err != nil || !slices.Equal(names, []string{"a", "b", "c", "damaged"}) {
		t.Errorf("files %v, %v", names, err)
	}
}
