package seal

import (
	"bytes"
	"errors"
	"fmt"

	"muster/internal/durable"
)

// Dir is a folder of sealed files. What was saved under a name is loaded under that name alone: a file that was changed,
// moved to another name, sealed with another key or not sealed at all is [durable.ErrDamaged].
type Dir struct {
	files durable.Dir // not embedded, so that no method writes or reads in plain
	box   box
}

// Save seals the file of that name; see [durable.Dir.Save].
func (d Dir) Save(name string, data []byte) error { return d.files.Save(name, d.box.seal(name, data)) }

// Draft makes room for the file of that name; see [durable.Dir.Draft]. The draft is sealed as well.
func (d Dir) Draft(name string, data []byte) (commit func(data []byte) error, discard func() error, err error) {
	replace, discard, err := d.files.Draft(name, d.box.seal(name, data))
	if err != nil {
		return nil, nil, err
	}
	return func(data []byte) error { return replace(d.box.seal(name, data)) }, discard, nil
}

// Remove removes the file of that name; see [durable.Dir.Remove].
func (d Dir) Remove(name string) error { return d.files.Remove(name) }

// List gives the names of the files, sorted.
func (d Dir) List() ([]string, error) { return d.files.List() }

// Load opens the file of that name; see [durable.Dir.Load].
func (d Dir) Load(name string) ([]byte, error) {
	content, err := d.files.Load(name)
	if err != nil {
		return nil, err
	}
	data, err := d.box.open(name, content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", name, durable.ErrDamaged, err)
	}
	return data, nil
}

// Adopt seals what was saved here in plain, and says how many files that were. Only a folder from before there was a
// seal is adopted: in another one a plain file is somebody else's.
func (d Dir) Adopt() (int, error) {
	count := 0
	names, err := d.List()
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		content, err := d.files.Load(name)
		switch {
		case errors.Is(err, durable.ErrDamaged) || err == nil && bytes.HasPrefix(content, head):
			continue
		case err == nil:
			err = d.Save(name, content)
			clear(content)
		}
		if err != nil {
			return count, fmt.Errorf("seal %s: %w", name, err)
		}
		count++
	}
	return count, nil
}

// look finds out whether a folder's files are sealed, and opened by its key. Damaged ones say nothing of it.
func look(path string, k Key) (f Finding, err error) {
	d := durable.Dir(path)
	names, err := d.List()
	for _, name := range names {
		content, err := d.Load(name)
		if err != nil || !bytes.HasPrefix(content, head) {
			continue
		}
		f.Sealed = true
		if k.Present() {
			_, err := newBox(k).open(name, content)
			f.Opens = f.Opens || err == nil
		}
		if f.Opens || !k.Present() {
			break
		}
	}
	return f, err
}
