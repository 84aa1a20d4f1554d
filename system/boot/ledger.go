package boot

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

// Records keep a few bytes over power cuts: after Save returned they are on disk, if it did not return the old ones are.
type Records interface {
	Save(name string, data []byte) error
	// Load gives what was saved last; [fs.ErrNotExist] when nothing was.
	Load(name string) ([]byte, error)
}

// The names of what is kept.
const updatesRecord = "updates"

// maxVersions is of how many versions it is kept which updates have run.
const maxVersions = 32

// ledger is which updates have run, for each version of the firmware.
type ledger struct {
	Versions []*versionLedger `json:"versions"` // the one in use last
}

// versionLedger is which updates of a version have run.
type versionLedger struct {
	Version  string   `json:"version"`
	Done     []string `json:"done"`
	Begun    string   `json:"begun,omitempty"`    // and neither its success nor its failure is known
	Failed   string   `json:"failed,omitempty"`   // the last time
	Attempts int      `json:"attempts,omitempty"` // to run the one that is begun or failed
}

// loadLedger reads the ledger.
func loadLedger(records Records) (l ledger, err error) {
	text, err := records.Load(updatesRecord)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return l, nil
	case err == nil:
		err = json.Unmarshal(text, &l)
	}
	if err != nil {
		return ledger{}, fmt.Errorf("read which have run: %w", err)
	}
	return l, nil
}

// of gives what is known of a version, which is the one in use from then on.
func (l *ledger) of(version string) *versionLedger {
	v := &versionLedger{Version: version}
	if i := slices.IndexFunc(l.Versions, func(v *versionLedger) bool { return v.Version == version }); i >= 0 {
		v = l.Versions[i]
		l.Versions = slices.Delete(l.Versions, i, i+1)
	}
	l.Versions = append(l.Versions, v)
	l.Versions = l.Versions[max(0, len(l.Versions)-maxVersions):]
	return v
}

// save writes the ledger.
func (l *ledger) save(records Records) error {
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	return records.Save(updatesRecord, text)
}

// begin notes that an update is about to run.
func (v *versionLedger) begin(name string) {
	if v.Begun != name && v.Failed != name {
		v.Attempts = 0
	}
	v.Begun, v.Failed = name, ""
	v.Attempts++
}

// fail notes that it has failed.
func (v *versionLedger) fail(name string) { v.Begun, v.Failed = "", name }

// finish notes that it has run.
func (v *versionLedger) finish(name string) {
	v.Done = append(v.Done, name)
	v.Begun, v.Failed, v.Attempts = "", "", 0
}
