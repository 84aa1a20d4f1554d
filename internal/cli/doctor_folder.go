package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"muster/client"
	"muster/internal/daemon"
	"muster/wire"
)

const (
	leastSpace  = 16 << 20    // bytes free on the disk, without which nothing works for long
	openFiles   = 4096 + 512  // as many connections as the bus takes, and the files of the store
	clockSlack  = time.Minute // that a file may be from the future
	visitBudget = 10 * time.Second
)

// patient is the daemon that is looked over, with its folder.
type patient struct {
	app      *app
	dir, url string
	local    bool // the folder is on this machine
	config   daemon.Config
	from     string // the configuration's file
	wrong    error  // with the configuration
	file     daemon.RunFile
	unread   error // why there is no run file
	now      time.Time

	bus   *client.Client // nil when nobody answers
	away  error          // why
	view  wire.StateView
	round time.Duration // that the view took
}

// visit gathers what the findings are made from.
func (a *app) visit(ctx context.Context, file string) *patient {
	p := &patient{app: a, dir: a.folder(), url: a.find(), local: !a.named()}
	var args []string
	if file != "" {
		args = []string{file}
	}
	p.config, p.from, p.wrong = readConfig(args)
	p.file, p.unread = daemon.ReadRunFile(p.dir)
	ctx, cancel := context.WithTimeout(ctx, visitBudget)
	defer cancel()
	bus, err := a.connect(ctx)
	if err == nil {
		started := time.Now()
		p.view, err = bus.State(ctx)
		p.round = time.Since(started)
	}
	if err != nil && bus != nil {
		bus.Close()
	}
	if err == nil {
		p.bus = bus
	}
	p.away, p.now = err, time.Now()
	return p
}

func (p *patient) leave() {
	if p.bus != nil {
		p.bus.Close()
	}
}

func (p *patient) configuration() []finding {
	switch {
	case p.wrong != nil:
		return []finding{found(fail, "config", "%v", p.wrong).advise(`"muster config default" explains every setting`)}
	case p.from == "":
		return []finding{found(isOK, "config", "the defaults, there is no %s", daemon.DefaultConfigFile)}
	}
	return []finding{found(isOK, "config", "%s is right", p.from)}
}

// folder holds the daemon's folder against who may look into it and change it.
func (p *patient) folder() []finding {
	is, err := os.Stat(p.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return []finding{found(fail, "folder", "there is no %s", p.dir).advise(`"muster run" makes it; --dir names another one`)}
	case err != nil:
		return []finding{found(fail, "folder", "%v", err).advise("look as the daemon's user")}
	case !is.IsDir():
		return []finding{found(fail, "folder", "%s is not a folder", p.dir).advise("--dir names another one")}
	}
	var findings []finding
	for _, name := range []string{"", "blobs", "known", "store", "timeline"} {
		path := filepath.Join(p.dir, name)
		is, err := os.Stat(path)
		if err != nil {
			continue // a daemon that has not run yet, or one of another version
		}
		switch mode := is.Mode().Perm(); {
		case mode&0o022 != 0:
			findings = append(findings, found(fail, "folder", "others may write to %s (mode %04o)", path, mode).advise("chmod 0700 %s", path))
		case mode&0o055 != 0:
			findings = append(findings, found(warn, "folder", "others may look into %s (mode %04o)", path, mode).advise("chmod 0700 %s", path))
		}
	}
	if len(findings) == 0 {
		findings = append(findings, found(isOK, "folder", "%s, closed to others", p.dir))
	}
	return findings
}

// announced holds what run.json says against what is.
func (p *patient) announced() []finding {
	switch {
	case errors.Is(p.unread, fs.ErrNotExist) && p.bus == nil:
		return []finding{found(fail, "run.json", "there is none: no daemon runs on this folder, or it is not ready yet").advise(`start one with "muster run"`)}
	case errors.Is(p.unread, fs.ErrNotExist):
		return []finding{found(fail, "run.json", "there is none, so the daemon that answers at %s is on another folder", p.url).advise("name its folder with --dir")}
	case errors.Is(p.unread, fs.ErrPermission):
		return []finding{found(fail, "run.json", "%v", p.unread).advise("be the daemon's user, or name the bus with --server")}
	case p.unread != nil:
		return []finding{found(fail, "run.json", "%v", p.unread).advise("a daemon writes it anew at its start; without one, remove it")}
	case p.bus != nil && p.view.Boot != p.file.Boot:
		return []finding{found(fail, "run.json", "it says %s, and %s answers at %s", p.file.Boot, p.view.Boot, p.url).advise("two daemons take turns, or the file is old: stop both, start one")}
	case !running(p.file.PID):
		return []finding{found(fail, "run.json", "it was left by process %d, which is gone: the daemon crashed or was killed", p.file.PID).
			advise(`start it again with "muster run"; its log may say why`)}
	}
	if p.bus == nil {
		return []finding{found(fail, "run.json", "process %d does not answer at %s", p.file.PID, p.file.URL).
			advise("it hangs, or the number is another process's by now; its log may say more")}
	}
	return []finding{found(isOK, "run.json", "process %d, boot %s", p.file.PID, p.file.Boot)}
}

// running reports whether there is such a process.
func running(pid int) bool {
	return pid > 0 && !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH)
}

func (p *patient) answering() finding {
	switch {
	case p.bus == nil:
		f := found(fail, "daemon", "%s", message(p.away))
		if h, ok := errors.AsType[hinted](p.away); ok {
			f.Hint = h.hint
		}
		return f
	case p.round > slowAnswer:
		return found(warn, "daemon", "took %s to answer at %s", span(p.round), p.url).advise("is the machine overloaded, or its disk slow?")
	}
	return found(isOK, "daemon", "answers at %s within %s", p.url, span(p.round))
}

// space holds the room on the disk against what the store may still grow by.
func (p *patient) space(ctx context.Context) []finding {
	free, err := freeSpace(p.dir)
	if err != nil {
		return nil // not to be had here
	}
	room := p.config.Store.MaxBytes
	if streams, err := p.streams(ctx); err == nil {
		for _, s := range streams {
			room -= int64(s.bytes)
		}
	}
	switch {
	case free < leastSpace:
		return []finding{found(fail, "disk", "%s free in %s", size(free), p.dir).advise("make room: nothing can be stored soon")}
	case free < room:
		return []finding{found(warn, "disk", "%s free in %s, and the store may grow by %s", size(free), p.dir, size(room)).advise("make room, or lower store.max_bytes")}
	}
	return []finding{found(isOK, "disk", "%s free", size(free))}
}

// process looks at the process of the daemon, as far as the system lets others see it.
func (p *patient) process() []finding {
	if p.unread != nil || p.view.Boot != p.file.Boot {
		return nil // it is not known which one it is
	}
	var findings []finding
	if replaced(p.file.PID) {
		findings = append(findings, found(warn, "version", "the program was replaced since process %d was started from it", p.file.PID).
			advise("start the daemon again"))
	}
	open, most, err := descriptors(p.file.PID)
	switch {
	case err != nil: // not to be had here
	case percent(open, most) >= nearlyFull:
		findings = append(findings, found(fail, "files", "%d of %d are open", open, most).advise("raise the limit of open files (systemd: LimitNOFILE)"))
	case most < openFiles:
		findings = append(findings, found(warn, "files", "at most %d may be open, which is too few for %d connections", most, 4096).
			advise("raise the limit of open files (systemd: LimitNOFILE)"))
	default:
		findings = append(findings, found(isOK, "files", "%d of %d are open", open, most))
	}
	return findings
}

// checkFiles finds files from the future: the clock has gone back since.
func checkFiles(dir string, now time.Time) []finding {
	newest, name := time.Time{}, ""
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error { // what cannot be read is passed over
		if err != nil {
			return nil
		}
		if is, err := entry.Info(); err == nil && is.ModTime().After(newest) {
			newest, name = is.ModTime(), path
		}
		return nil
	})
	if ahead := newest.Sub(now); ahead > clockSlack {
		return []finding{found(warn, "clock", "%s was written %s from now: the clock has gone back", name, span(ahead)).
			advise("until it is right again, certificates and dates are not to be trusted")}
	}
	return nil
}

var errUnknownHere = errors.New("this system does not tell")
