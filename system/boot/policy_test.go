package boot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"muster/system"
	"muster/system/boot/policy"
	"muster/wire"
)

// pulpit is a source of policies that is played.
type pulpit chan sermon

type sermon struct {
	text PolicyText
	err  error
	end  error // Watch ends with it
}

// Watch implements PolicySource.
func (p pulpit) Watch(ctx context.Context, tell func(PolicyText, error)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case s := <-p:
			if s.end != nil {
				return s.end
			}
			tell(s.text, s.err)
		}
	}
}

// edict is a policy of that version, issued on a day of November.
func edict(version string, day int) sermon {
	text := fmt.Sprintf("version = %q\nissued = 2026-11-%02dT00:00:00Z\nntp_servers = [\"a.example\", \"b.example\"]\n", version, day)
	return sermon{text: PolicyText{Origin: "the file", Format: policy.TOML, Text: []byte(text)}}
}

// governed boots a machine whose policy comes from a pulpit.
func governed(t *testing.T, p pulpit, store *safe, records *shelf) *rig {
	t.Helper()
	r := newRig(t)
	r.boot(OpenPolicy(PolicyOptions{
		Source: p, Records: records, Blobs: store, Gate: r, Wisher: r, Teller: r, Patience: 5 * time.Minute,
	}))
	return r
}

func TestPolicyComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, store := make(pulpit), &safe{}
		r := governed(t, p, store, &shelf{})
		r.wantStands("CPD_POST_TIME; policy: the policy has not been looked at yet")
		p <- sermon{err: errors.New("there is no policy at /p.toml")}
		r.after(20 * time.Second)
		r.wantStands("CPD_POST_TIME; policy: there is no policy at /p.toml since 20s")
		p <- edict("1", 1)
		r.soon()
		r.wantStands("OPERATIONAL")
		r.wantTold("sys.network.policy:  > , there is no policy at /p.toml", "sys.network.policy:  > 1, ")
		if got, want := store.has("user-policy"), `{"version":"1","issued":"2026-11-01T00:00:00Z","ntp_servers":["a.example","b.example"]}`; got != want {
			t.Errorf("user-policy is %s, want %s", got, want)
		}
		if got := store.has("ntp-server"); got != "a.example b.example" {
			t.Errorf("ntp-server is %q", got)
		}
	})
}

// TestPolicyChanges takes a new policy through POLICY_INVALID, refuses what is wrong or older, and keeps the last good one.
func TestPolicyChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, store, records := make(pulpit), &safe{}, &shelf{}
		r := governed(t, p, store, records)
		p <- edict("1", 1)
		r.wantStands("OPERATIONAL")
		r.wantTold("sys.network.policy:  > 1, ")
		r.wantEntered("CPD_POST_TIME", "POLICY_VALID", "REGISTERED", "AUTH1", "AUTH2", "ONE_TIME_UPDATES", "OPERATIONAL")

		p <- edict("2", 2)
		r.soon()
		r.wantStands("OPERATIONAL")
		r.wantTold("sys.network.policy: 1 > 2, ")
		r.wantEntered("POLICY_INVALID", "INITIALIZED", "COLLECTING_STDIN", "IFACE_COLDPLUG", "DHCP", "CPD_PRE_TIME", "TIME_VALID",
			"CPD_POST_TIME", "POLICY_VALID", "REGISTERED", "AUTH1", "AUTH2", "ONE_TIME_UPDATES", "OPERATIONAL")
		if !strings.Contains(store.has("user-policy"), `"version":"2"`) {
			t.Errorf("user-policy is %s", store.has("user-policy"))
		}

		p <- edict("2", 2) // the same again
		p <- edict("1", 1)
		broken := edict("3", 3)
		broken.text.Text = append(broken.text.Text, "ntp_server = 1\n"...)
		p <- broken
		p <- broken
		p <- sermon{err: errors.New("there is no policy at /p.toml")}
		r.wantStands("OPERATIONAL")
		r.wantEntered()
		r.wantTold(
			"sys.network.policy: 2 > 2, the file is refused: policy 1 was issued on 2026-11-01T00:00:00Z, before policy 2 (2026-11-02T00:00:00Z); policy 2 stays in force",
			"sys.network.policy: 2 > 2, the file is refused: line 4: ntp_server is not known; did you mean ntp_servers?; policy 2 stays in force",
			"sys.network.policy: 2 > 2, there is no policy at /p.toml; policy 2 stays in force")
		if !strings.Contains(records.kept["policy"], `"origin":"the file"`) {
			t.Errorf("kept is %s", records.kept["policy"])
		}
	})
}

// TestPolicyKept has the last good policy hold after a restart, whatever the source says; what is in the blobs is not written again.
func TestPolicyKept(t *testing.T) {
	for name, c := range map[string]struct {
		says sermon
		told []string
	}{
		"gone":   {sermon{err: errors.New("it is gone")}, []string{"sys.network.policy:  > , it is gone", "sys.network.policy:  > 1, "}},
		"same":   {edict("1", 1), []string{"sys.network.policy:  > 1, "}},
		"newer":  {edict("2", 2), []string{"sys.network.policy:  > 2, "}},
		"silent": {sermon{}, []string{"sys.network.policy:  > 1, "}},
		"deaf":   {sermon{end: errors.New("out of watches")}, []string{"sys.network.policy:  > , no policy is heard of: out of watches", "sys.network.policy:  > 1, "}},
	} {
		t.Run(name, func(t *testing.T) {
			store, records := &safe{}, &shelf{}
			synctest.Test(t, func(t *testing.T) {
				p := make(pulpit)
				r := governed(t, p, store, records)
				p <- edict("1", 1)
				r.wantStands("OPERATIONAL")
			})
			store.writes = nil
			synctest.Test(t, func(t *testing.T) {
				p := make(pulpit)
				r := governed(t, p, store, records)
				r.wantStands("CPD_POST_TIME; policy: the policy has not been looked at yet")
				if name != "silent" {
					p <- c.says
				}
				r.after(2 * silence)
				r.soon()
				r.wantStands("OPERATIONAL")
				r.wantTold(c.told...)
				if name != "newer" && len(store.writes) > 0 {
					t.Errorf("written again: %v", store.writes)
				}
			})
		})
	}
}

// TestPolicyDamaged cannot read what was kept.
func TestPolicyDamaged(t *testing.T) {
	for _, kept := range []string{"{", `{"format":"toml","text":"YQ=="}`} {
		synctest.Test(t, func(t *testing.T) {
			p := make(pulpit)
			r := governed(t, p, &safe{}, &shelf{kept: map[string]string{"policy": kept}})
			p <- edict("1", 1)
			r.wantStands("OPERATIONAL")
		})
	}
}

// TestPolicyMissing goes on without, and takes the policy through POLICY_INVALID when it comes late.
func TestPolicyMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := make(pulpit)
		r := governed(t, p, &safe{}, &shelf{})
		p <- sermon{err: errors.New("there is none")}
		r.after(5*time.Minute + time.Second)
		r.wantStands("OPERATIONAL")
		r.wantTold("sys.network.policy:  > , there is none", "sys.network.policy:  > , there is none since 5m1s; the device goes on without (degraded)")
		r.wantEntered("CPD_POST_TIME", "POLICY_VALID", "REGISTERED", "AUTH1", "AUTH2", "ONE_TIME_UPDATES", "OPERATIONAL")
		p <- edict("1", 1)
		r.soon()
		r.wantStands("OPERATIONAL")
		r.wantTold("sys.network.policy:  > 1, ")
		r.wantEntered("POLICY_INVALID", "INITIALIZED", "COLLECTING_STDIN", "IFACE_COLDPLUG", "DHCP", "CPD_PRE_TIME", "TIME_VALID",
			"CPD_POST_TIME", "POLICY_VALID", "REGISTERED", "AUTH1", "AUTH2", "ONE_TIME_UPDATES", "OPERATIONAL")
	})
}

// TestPolicyDiskFull cannot keep the policy, then not write its blob.
func TestPolicyDiskFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, store, records := make(pulpit), &safe{fault: errors.New("the store is full")}, &shelf{full: errors.New("no space left on device")}
		r := governed(t, p, store, records)
		p <- edict("1", 1)
		r.wantStands("CPD_POST_TIME; policy: policy 1 cannot be kept: no space left on device since 0s")
		records.fill(nil)
		r.after(5 * time.Second)
		r.wantStands("CPD_POST_TIME; policy: the blob ntp-server.0 cannot be written: the store is full since 2s")
		store.mend()
		r.after(10 * time.Second)
		r.wantStands("OPERATIONAL")
	})
}

// TestPolicyStoreFull cannot write the blobs of a policy that comes late. The device goes down for it once, goes on without,
// and is left alone until they can be written.
func TestPolicyStoreFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, store := make(pulpit), &safe{fault: errors.New("the store is full")}
		r := governed(t, p, store, &shelf{})
		p <- sermon{err: errors.New("there is none")}
		r.after(6 * time.Minute)
		r.wantStands("OPERATIONAL")
		r.wantEntered("CPD_POST_TIME", "POLICY_VALID", "REGISTERED", "AUTH1", "AUTH2", "ONE_TIME_UPDATES", "OPERATIONAL")
		again := []string{
			"POLICY_INVALID", "INITIALIZED", "COLLECTING_STDIN", "IFACE_COLDPLUG", "DHCP", "CPD_PRE_TIME", "TIME_VALID",
			"CPD_POST_TIME", "POLICY_VALID", "REGISTERED", "AUTH1", "AUTH2", "ONE_TIME_UPDATES", "OPERATIONAL",
		}
		p <- edict("1", 1)
		r.after(time.Hour)
		r.wantStands("OPERATIONAL")
		r.wantEntered(again...)
		store.mend()
		r.after(2 * time.Minute)
		r.wantStands("OPERATIONAL")
		r.wantEntered(again...)
		if !strings.Contains(store.has("user-policy"), `"version":"1"`) {
			t.Errorf("user-policy is %s", store.has("user-policy"))
		}
	})
}

// TestPolicyHeld has a notifier hold POLICY_INVALID: the old policy stays until the device is there.
func TestPolicyHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, store := make(pulpit), &safe{}
		r := governed(t, p, store, &shelf{})
		p <- edict("1", 1)
		r.wantStands("OPERATIONAL")
		if err := r.Add(system.Notifier{Name: "pump", States: []wire.State{wire.PolicyInvalid}, Ask: func(context.Context, wire.Question) wire.Answer {
			return deferred("it pumps")
		}}); err != nil {
			t.Fatal(err)
		}
		p <- edict("2", 2)
		r.wantStands("OPERATIONAL; pump: it pumps")
		r.after(20 * time.Second)
		if !strings.Contains(store.has("user-policy"), `"version":"1"`) {
			t.Errorf("before POLICY_INVALID user-policy is %s", store.has("user-policy"))
		}
		p <- edict("3", 3)
		r.after(20 * time.Second)
		r.wantStands("OPERATIONAL")
		r.wantTold("sys.network.policy:  > 1, ", "sys.network.policy: 1 > 3, ")
	})
}

// TestPolicyFlaps changes the policy faster than the device climbs.
func TestPolicyFlaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, store := make(pulpit), &safe{}
		r := governed(t, p, store, &shelf{})
		for i := range 200 {
			p <- edict(fmt.Sprint("v", i), 1)
			if i%20 == 0 {
				r.after(time.Second)
			}
		}
		r.after(time.Minute)
		r.wantStands("OPERATIONAL")
		if !strings.Contains(store.has("user-policy"), `"version":"v199"`) {
			t.Errorf("user-policy is %s", store.has("user-policy"))
		}
	})
}

// TestPolicyFile reads a real file, and reads it again.
func TestPolicyFile(t *testing.T) {
	path := filepath.Join(folder(t, nil), "policy.toml")
	again, said := make(chan struct{}), make(chan string)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		ended <- PolicyFile{Path: path, Again: again}.Watch(ctx, func(text PolicyText, err error) {
			if err != nil {
				said <- strings.ReplaceAll(err.Error(), filepath.Dir(path), "")
				return
			}
			said <- string(text.Format) + " " + string(text.Text)
		})
	}()
	want := func(want string) {
		t.Helper()
		if got := <-said; got != want {
			t.Errorf("said %q, want %q", got, want)
		}
	}
	want("there is no policy at /policy.toml")
	for _, step := range []struct {
		text string
		mode os.FileMode
		want string
	}{
		{"a", 0o644, "toml a"},
		{"b", 0o666, "the policy is not read: /policy.toml may be written by others (mode 0666); 0755 would be right"},
		{strings.Repeat("x", policy.MaxSize), 0o600, "toml " + strings.Repeat("x", policy.MaxSize)},
		{strings.Repeat("x", policy.MaxSize+1), 0o600, "the policy cannot be read: /policy.toml has more than 1048576 bytes"},
		{"", 0o644, "toml "},
	} {
		if err := os.WriteFile(path, []byte(step.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, step.mode); err != nil {
			t.Fatal(err)
		}
		again <- struct{}{}
		want(step.want)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", path); err != nil {
		t.Fatal(err)
	}
	again <- struct{}{}
	want("the policy is not read: /policy.toml is not a plain file (L---------)")
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestPolicyFileByItself sees that the file is another without being told.
func TestPolicyFileByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(folder(t, nil), "policy.json")
		var said []string
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- PolicyFile{Path: path}.Watch(ctx, func(text PolicyText, err error) { said = append(said, string(text.Text)) })
		}()
		for _, text := range []string{"", "", "a", "a", "bb", "bb"} {
			<-time.After(lookAtFile)
			synctest.Wait()
			if text == "" {
				continue
			}
			if old, err := os.ReadFile(path); err == nil && string(old) == text {
				continue
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		<-time.After(lookAtFile)
		synctest.Wait()
		if got := strings.Join(said, ","); got != ",a,bb" {
			t.Errorf("said %q, want nothing, a, bb", got)
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
