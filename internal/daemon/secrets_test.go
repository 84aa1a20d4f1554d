package daemon

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"muster/blobs"
	"muster/bus"
	"muster/internal/durable"
	"muster/internal/seal"
	"muster/system"
	"muster/wire"
)

// marker stands in what must not lie on the disk as it is.
const marker = "MarkerText"

// secretBlobs are written by the tests of the store.
var secretBlobs = []string{"auth.1", "mqtt-password.0", "user-a.0"}

// dataOf gives a text as the bytes of a request in JSON.
func dataOf(text string) string {
	return `{"data":"` + base64.StdEncoding.EncodeToString([]byte(text)) + `"}`
}

// write sets the blobs.
func (r *running) write() {
	r.t.Helper()
	nc := r.dial()
	for _, blob := range secretBlobs {
		if code := ask(r.t, nc, "sys.api.blob.set."+blob, dataOf(marker+" "+blob), nil); code != "" {
			r.t.Fatalf("set %s: %s", blob, code)
		}
	}
}

// check reads them.
func (r *running) check(when string) {
	r.t.Helper()
	nc := r.dial()
	for _, blob := range secretBlobs {
		var part wire.BlobPart
		if code := ask(r.t, nc, "sys.api.blob.get."+blob, `{}`, &part); code != "" || string(part.Data) != marker+" "+blob {
			r.t.Errorf("%s: %s is %q %s", when, blob, part.Data, code)
		}
	}
}

func (r *running) end() {
	r.t.Helper()
	if err := r.stop(); err != nil {
		r.t.Fatal(err)
	}
}

// filled gives a folder in which a daemon has kept the blobs.
func filled(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	r := start(t, dir)
	r.write()
	r.end()
	return dir
}

func copyOf(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := durable.CopyTree(dir, to); err != nil {
		t.Fatal(err)
	}
	return to
}

// files gives every file below the folder with its mode and content. The lock is left out: it names the last process.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		content := []byte(nil)
		if info.Mode().IsRegular() {
			content, err = os.ReadFile(path)
		}
		found[strings.TrimPrefix(path, dir+"/")] = info.Mode().String() + "\n" + string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	delete(found, dir)
	delete(found, "lock")
	return found
}

// holding lists the files in which a text stands.
func holding(t *testing.T, dir, text string) (names []string) {
	t.Helper()
	for name, content := range files(t, dir) {
		if strings.Contains(content, text) {
			names = append(names, name)
		}
	}
	return names
}

// TestNothingInPlain does with secrets what can be done with them, and then looks through every file of the folder.
func TestNothingInPlain(t *testing.T) {
	dir := t.TempDir()
	var log bytes.Buffer
	r := launch(t, dir, &log)
	nc := r.dial()
	await(t, nc, wire.Operational)
	r.write()
	for subject, text := range map[string]string{
		"sys.api.blob.append.auth.1":        dataOf(" and " + marker + " more"),
		"sys.api.blob.set.ext-auth1.0":      dataOf(strings.Repeat(marker, 50_000)),
		"sys.api.blob.set.client-key-der.0": dataOf(marker + " to be emptied"),
		"sys.loop.0":                        `{"call":"sys.call.later","durable":true,"state":"MODAL_UPDATING","id":"later","data":{"password":"` + marker + `"}}`,
	} {
		if code := ask(t, nc, subject, text, nil); code != "" {
			t.Fatalf("%s: %s", subject, code)
		}
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), wire.BlobsBucket)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.PutString(t.Context(), "mqtt-password.0", marker+" by another client"); err != nil {
		t.Fatal(err)
	}
	r.end()
	check := func(when string) {
		t.Helper()
		if names := holding(t, dir, marker); len(names) > 0 {
			t.Errorf("%s: in plain in %v", when, names)
		}
	}
	check("after writing")
	r = launch(t, dir, &log)
	nc = r.dial()
	for _, blob := range []string{"client-key-der.0", "auth.1", "ext-auth1.0"} {
		if code := ask(t, nc, "sys.api.blob.empty."+blob, `{}`, nil); code != "" {
			t.Fatalf("empty %s: %s", blob, code)
		}
	}
	var list wire.Loops
	if ask(t, nc, "sys.api.loop.list", "", &list); len(list.Loops) != 1 || len(list.Loops[0].Waiting) != 1 {
		t.Errorf("the durable booking did not outlive the restart: %+v", list)
	}
	r.end()
	check("after emptying")
	if strings.Contains(log.String(), marker) {
		t.Error("a secret is in the log")
	}

	// The key stands in its file and nowhere else, and nothing made from it anywhere.
	key := strings.TrimSpace(strings.SplitN(files(t, dir)["store.key"], "\n", 2)[1])
	sealed, err := seal.Open(seal.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"key": key, "store's key": sealed.Store().Reveal()} {
		raw, err := hex.DecodeString(text)
		if err != nil || len(raw) != 32 {
			t.Fatalf("the %s is %q, %v", name, text, err)
		}
		if names := append(holding(t, dir, text), holding(t, dir, string(raw))...); len(names) > 1 || len(names) == 1 && names[0] != "store.key" {
			t.Errorf("the %s stands in %v", name, names)
		}
		if strings.Contains(log.String(), text) {
			t.Errorf("the %s is in the log", name)
		}
	}
}

// launch starts a daemon that logs everything there is, also to w.
func launch(t *testing.T, dir string, w io.Writer) *running {
	t.Helper()
	config := DefaultConfig()
	config.Dir, config.Listen = dir, "127.0.0.1:0"
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan RunFile, 1), make(chan error, 1)
	log := slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
	go func() { done <- Run(ctx, config, Options{Log: log, Ready: func(f RunFile) { ready <- f }}) }()
	r := &running{t: t}
	r.stop = func() error { cancel(); return <-done }
	select {
	case r.RunFile = <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	return r
}

// wontStart wants a daemon not to start on the folder, and to leave every byte there as it is.
func wontStart(t *testing.T, dir string, want string, change ...func(*Config)) {
	t.Helper()
	config := DefaultConfig()
	config.Dir, config.Listen = dir, "127.0.0.1:0"
	for _, f := range change {
		f(&config)
	}
	before := files(t, dir)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	err := Run(ctx, config, Options{Ready: func(RunFile) { stop() }})
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("started with %v, want %q", err, want)
	}
	if !maps.Equal(before, files(t, dir)) {
		t.Error("the refusal has changed something")
	}
}

// TestWrongKey has a key that does not belong to the store, in each way there is, and then the right one again.
func TestWrongKey(t *testing.T) {
	whole, other := filled(t), filled(t)
	take := func(dir, name string) error {
		content, err := os.ReadFile(filepath.Join(other, name))
		return errors.Join(err, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	remove := func(dir, name string) error { return os.RemoveAll(filepath.Join(dir, name)) }
	for name, tt := range map[string]struct {
		change func(dir string) error
		want   string
	}{
		"another key":               {func(dir string) error { return take(dir, "store.key") }, "it does not open /"},
		"another token":             {func(dir string) error { return take(dir, "store.seal") }, "is the token of another store"},
		"another key and its token": {func(dir string) error { return errors.Join(take(dir, "store.key"), take(dir, "store.seal")) }, "but not the store, which is another's"},
		"another key and no token":  {func(dir string) error { return errors.Join(take(dir, "store.key"), remove(dir, "store.seal")) }, "it does not open the store"},
		"no key":                    {func(dir string) error { return remove(dir, "store.key") }, "its key is missing"},
		"no key and no token":       {func(dir string) error { return errors.Join(remove(dir, "store.key"), remove(dir, "store.seal")) }, "its key is missing"},
		"no key, no store":          {func(dir string) error { return errors.Join(remove(dir, "store.key"), remove(dir, "store")) }, "its key is missing"},
		"no key, only snapshots": {func(dir string) error {
			return errors.Join(remove(dir, "store.key"), remove(dir, "store.seal"), remove(dir, "store"))
		}, "its key is missing"},
		"another key, only snapshots": {func(dir string) error {
			return errors.Join(take(dir, "store.key"), remove(dir, "store.seal"), remove(dir, "store"))
		}, "does not open what is sealed in"},
		"a damaged token": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "store.seal"), []byte("muster\x00\x01 and so on"), 0o600)
		}, "token is damaged"},
		"a key for everybody": {func(dir string) error { return os.Chmod(filepath.Join(dir, "store.key"), 0o604) }, "0600 would be right"},
		"another's store": {func(dir string) error {
			return errors.Join(remove(dir, "store"), os.CopyFS(filepath.Join(dir, "store"), os.DirFS(filepath.Join(other, "store"))))
		}, "but not the store, which is another's"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copyOf(t, whole)
			if err := tt.change(dir); err != nil {
				t.Fatal(err)
			}
			wontStart(t, dir, tt.want)
			for _, name := range []string{"store.key", "store.seal"} {
				content, err := os.ReadFile(filepath.Join(whole, name))
				if err := errors.Join(err, remove(dir, name), os.WriteFile(filepath.Join(dir, name), content, 0o600)); err != nil {
					t.Fatal(err)
				}
			}
			if name == "another's store" {
				return
			}
			r := start(t, dir)
			r.check("with the right key again")
		})
	}
}

// TestKeySources has the key elsewhere, and moves it.
func TestKeySources(t *testing.T) {
	elsewhere := t.TempDir()
	file := filepath.Join(elsewhere, "muster-store")
	dir := t.TempDir()
	named := func(c *Config) { c.Store.KeyFile = file }
	lent := func(c *Config) { c.Store.Credential = "muster-store" }
	wontStart(t, dir, "read the store's key: open "+file, named)
	wontStart(t, dir, "$CREDENTIALS_DIRECTORY is not set", lent)
	if err := os.WriteFile(file, []byte(strings.Repeat("0123456789abcdef", 4)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, dir, named)
	r.write()
	r.end()
	if _, made := files(t, dir)["store.key"]; made {
		t.Error("a key was made although one is named")
	}
	t.Setenv("CREDENTIALS_DIRECTORY", elsewhere)
	r = start(t, dir, lent)
	r.check("as a credential")
	r.end()
	wontStart(t, dir, "its key is missing")
	if err := os.Rename(file, filepath.Join(dir, "store.key")); err != nil {
		t.Fatal(err)
	}
	start(t, dir).check("beside the store")
}

// TestTokenMadeAnew takes away what the daemon can make again.
func TestTokenMadeAnew(t *testing.T) {
	dir := filled(t)
	if err := os.Remove(filepath.Join(dir, "store.seal")); err != nil {
		t.Fatal(err)
	}
	r := start(t, dir)
	r.check("without a token")
	if len(r.log.lines("level=WARN", "token is missing and will be made anew")) != 1 {
		t.Error("nobody is told that the token was missing")
	}
	if _, made := files(t, dir)["store.seal"]; !made {
		t.Error("there is no token")
	}
}

// TestSnapshotRepairs flips a bit in each file of the bucket while the daemon is away, one at a time.
func TestSnapshotRepairs(t *testing.T) {
	whole := filled(t)
	bucket := filepath.Join("store", "jetstream", "MUSTER", "streams", "KV_SYS_BLOBS")
	checked := 0
	for name, content := range files(t, whole) {
		if !strings.HasPrefix(name, bucket) || !strings.HasPrefix(content, "-") {
			continue
		}
		parts := 1
		if strings.HasSuffix(name, ".blk") {
			parts = 3
		}
		for part := range parts {
			checked++
			dir := copyOf(t, whole)
			path := filepath.Join(dir, name)
			content, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			content[len(content)*(2*part+1)/(2*parts)] ^= 1
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			r := start(t, dir)
			r.check("with a bit of " + name + " flipped")
			r.end()
			r = start(t, dir)
			r.check("and once more")
			r.end()
			if len(r.log.lines("level=ERROR")) > 0 {
				t.Errorf("%s: mended, and yet %v", name, r.log.lines("level=ERROR"))
			}
		}
	}
	if checked < 8 {
		t.Errorf("only %d bits were flipped", checked)
	}
}

// TestSwappedSnapshots has somebody exchange snapshots, and damage the bucket so that they are needed.
func TestSwappedSnapshots(t *testing.T) {
	dir := filled(t)
	one, two := filepath.Join(dir, "blobs", "auth.1"), filepath.Join(dir, "blobs", "user-a.0")
	aside := filepath.Join(dir, "aside")
	if err := errors.Join(os.Rename(one, aside), os.Rename(two, one), os.Rename(aside, two)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "store")); err != nil {
		t.Fatal(err)
	}
	nc := start(t, dir).dial()
	for _, blob := range secretBlobs {
		var part wire.BlobPart
		ask(t, nc, "sys.api.blob.get."+blob, `{}`, &part)
		if want := map[string]string{"mqtt-password.0": marker + " mqtt-password.0"}[blob]; string(part.Data) != want {
			t.Errorf("%s is %q, want %q", blob, part.Data, want)
		}
	}
}

// plainStore gives a folder as versions left it that encrypted nothing.
func plainStore(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	b, err := bus.Open(bus.Options{Dir: dir, Listen: "127.0.0.1:0", Boot: "1-test", Clock: &system.Sim{}})
	if err != nil {
		t.Fatal(err)
	}
	k, err := b.Bucket(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	snapshots, err := durable.OpenDir(filepath.Join(dir, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	kept := blobs.New(blobs.Options{Store: bucket{k}, Snapshots: snapshots})
	if _, err := kept.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, blob := range secretBlobs {
		name, index, _ := strings.Cut(blob, ".")
		key := wire.BlobKey{Name: name, Index: int(index[0] - '0')}
		if _, err := kept.Set(t.Context(), wire.Internal, wire.BlobWrite{BlobKey: key, Data: []byte(marker + " " + blob)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if names := holding(t, dir, marker); len(names) < 4 {
		t.Fatalf("in plain only in %v", names)
	}
	return dir
}

// TestPlainStore takes over what an earlier version left.
func TestPlainStore(t *testing.T) {
	dir := plainStore(t)
	r := start(t, dir)
	r.check("taken over")
	if len(r.log.lines("level=WARN", "the store is in plain and is being encrypted", "snapshots=3")) != 1 {
		t.Error("nobody is told that the store was in plain")
	}
	r.end()
	if names := holding(t, dir, marker); len(names) > 0 {
		t.Errorf("still in plain: %v", names)
	}
	r = start(t, dir)
	r.check("started again")
	if lines := r.log.lines("level=WARN"); len(lines) > 0 {
		t.Errorf("started again: %v", lines)
	}
	r.end()

	// A plain snapshot that appears later is nobody's.
	planted, err := durable.OpenDir(filepath.Join(dir, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(planted.Save("auth.1", []byte("planted")), planted.Save("auth.0", []byte("planted"))); err != nil {
		t.Fatal(err)
	}
	r = start(t, dir)
	r.check("with a planted snapshot")
	var part wire.BlobPart
	if ask(t, r.dial(), "sys.api.blob.get.auth.0", `{}`, &part); len(part.Data) > 0 {
		t.Errorf("a planted snapshot was taken: %q", part.Data)
	}
}

// killAt runs a daemon on the folder and kills it as soon as the file is there.
func killAt(t *testing.T, dir, file string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(20 * time.Microsecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for {
		if _, err := os.Lstat(filepath.Join(dir, file)); err == nil {
			break
		}
		if _, err := ReadRunFile(dir); err == nil {
			break // it was quicker than we are
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("there is no %s", file)
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait() // it was killed
	if err := os.Remove(filepath.Join(dir, runFileName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
}

// TestKillAtFirstStart kills a daemon at each step of its first start, on a new folder and on a plain store. The next
// one must start, and nothing may be lost.
func TestKillAtFirstStart(t *testing.T) {
	streams := filepath.Join("store", "jetstream", "MUSTER", "streams")
	fresh := []string{"lock", "store.key", "store.seal", "store"}
	for _, file := range []string{"SYS_EVENTS", "SYS_EVENTS/msgs/1.blk", "SYS_EVENTS/msgs/1.key", "SYS_EVENTS/meta.key", "SYS_EVENTS/meta.inf", "KV_SYS_BLOBS/meta.key", "SYS_LOOP/meta.sum"} {
		fresh = append(fresh, filepath.Join(streams, file))
	}
	plain := []string{"lock", "store.key", "encrypting", "encrypting/store", filepath.Join("encrypting", streams, "KV_SYS_BLOBS/meta.key"), "encrypting/replaced", "store.seal"}
	for _, file := range fresh {
		t.Run("new "+strings.ReplaceAll(file, "/", " "), func(t *testing.T) {
			dir := t.TempDir()
			killAt(t, dir, file)
			r := start(t, dir)
			r.write()
			r.end()
			if lines := r.log.lines("level=ERROR"); len(lines) > 0 {
				t.Errorf("log %v", lines)
			}
			start(t, dir).check("after the kill")
		})
	}
	for _, file := range plain {
		t.Run("plain "+strings.ReplaceAll(file, "/", " "), func(t *testing.T) {
			dir := plainStore(t)
			killAt(t, dir, file)
			r := start(t, dir)
			r.check("after the kill")
			r.end()
			if names := holding(t, dir, marker); len(names) > 0 {
				t.Errorf("still in plain: %v", names)
			}
			names := slices.Sorted(maps.Keys(files(t, dir)))
			if slices.ContainsFunc(names, func(name string) bool {
				return strings.Contains(name, ".tmp-") || strings.HasPrefix(name, "encrypting")
			}) {
				t.Errorf("left over: %v", names)
			}
		})
	}
}

// TestKeyIsNotPrinted prints a daemon that has its key.
func TestKeyIsNotPrinted(t *testing.T) {
	dir := filled(t)
	d := &Daemon{config: DefaultConfig(), opts: Options{Log: slog.New(slog.DiscardHandler)}, platform: &system.Sim{}}
	d.config.Dir = dir
	if err := d.openStore(t.Context()); err != nil {
		t.Fatal(err)
	}
	var shown bytes.Buffer
	slog.New(slog.NewTextHandler(&shown, nil)).Info("daemon", "all", d, "key", d.key)
	text, err := json.Marshal(map[string]any{"key": d.key})
	if err != nil {
		t.Fatal(err)
	}
	shown.Write(text)
	if strings.Contains(shown.String(), d.key.Reveal()[:8]) || !strings.Contains(shown.String(), "[key]") {
		t.Errorf("shown is %s", shown.String())
	}
}
