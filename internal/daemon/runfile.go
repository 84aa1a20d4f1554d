package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"muster/internal/durable"
)

// RunFile is what a running daemon says of itself in <dir>/run.json, by which the other commands find it.
type RunFile struct {
	PID    int    `json:"pid"`
	URL    string `json:"url"`              // of the bus, nats://127.0.0.1:4222
	Socket string `json:"socket,omitempty"` // the bus as a Unix socket, where there is one
	Boot   string `json:"boot"`             // this run of the daemon
	Dir    string `json:"dir"`
}

const runFileName = "run.json"

// ReadRunFile reads what the daemon on that folder said of itself. No file is [fs.ErrNotExist]: it does not run, or
// is not ready yet. A file may outlive a killed daemon; only connecting tells.
func ReadRunFile(dir string) (RunFile, error) {
	var f RunFile
	text, err := os.ReadFile(filepath.Join(dir, runFileName))
	if err != nil {
		return f, fmt.Errorf("read run file: %w", err)
	}
	if err := json.Unmarshal(text, &f); err != nil {
		return f, fmt.Errorf("read run file %s: %w", filepath.Join(dir, runFileName), err)
	}
	if f.PID <= 0 || f.URL == "" {
		return f, fmt.Errorf("read run file %s: it names no process, or no bus", filepath.Join(dir, runFileName))
	}
	return f, nil
}

func (f RunFile) write() error {
	text, err := json.Marshal(f)
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(f.Dir, runFileName), append(text, '\n'), 0o644)
}

func (f RunFile) remove() error {
	if err := os.Remove(filepath.Join(f.Dir, runFileName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
