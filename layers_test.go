// Package muster holds the tests of the project's own shape; its code is in the folders below.
package muster

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const server = "github.com/nats-io/nats-server/v2/"

// layers says which rooms each room may know, directly or through others. Arrows point down only.
var layers = map[string][]string{
	"wire":             {},
	"access":           {"wire"},
	"bus":              {"wire", "access", "internal/durable"},
	"bus/bustest":      {"wire", "access", "bus", "internal/durable"},
	"system":           {"wire"},
	"system/boot":      {"wire", "system", "system/boot/policy", "system/boot/credential"},
	"system/linux":     {"wire", "system"},
	"blobs":            {"wire"},
	"client":           {"wire"},
	"internal/version": {},
	"internal/durable": {},
	"internal/seal":    {"internal/durable"},
	"internal/systemd": {},
	"internal/demote":  {},
	"internal/docgen":  {"wire", "system/boot/policy"},
	"internal/daemon": {
		"wire", "access", "bus", "system", "system/boot", "system/boot/policy", "system/boot/credential", "system/linux", "internal/systemd", "blobs", "internal/durable", "internal/seal",
		"internal/version", "internal/demote",
	},
	"internal/cli":    {"*"},
	"internal/mangen": {"*"},
	"cmd/muster":      {"*"},
	"deploy":          {},
	"bench":           {"*"},
	"examples/backup": {"wire", "client"}, // as anybody's program

	"system/boot/policy":     {"wire"},
	"system/boot/credential": {},
}

// knowsServer lists the rooms that may link NATS's server, themselves or through another.
var knowsServer = []string{
	"access", "bus", "bus/bustest", "internal/daemon", "internal/cli", "internal/mangen", "cmd/muster", "bench",
}

func TestLayers(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", `{{.ImportPath}} {{join .Deps " "}}`, "./...").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		room, ours := strings.CutPrefix(fields[0], "muster/")
		if !ours {
			continue // the root itself, which holds only tests
		}
		allowed, known := layers[room]
		if !known {
			t.Errorf("%s stands in no row of layers; say there what it may know", room)
			continue
		}
		for _, dep := range fields[1:] {
			if other, ours := strings.CutPrefix(dep, "muster/"); ours && !slices.Contains(allowed, other) && !slices.Contains(allowed, "*") {
				t.Errorf("%s knows %s; it may know %v", room, other, allowed)
			}
			if strings.HasPrefix(dep, server) && !slices.Contains(knowsServer, room) {
				t.Errorf("%s knows NATS's server through %s", room, dep)
			}
		}
	}
}

// TestDomainsDoNotKnowNATS keeps the rooms that hold the rules free of the bus that carries them.
func TestDomainsDoNotKnowNATS(t *testing.T) {
	for _, room := range []string{"./wire", "./system", "./system/boot", "./system/boot/policy", "./system/boot/credential", "./system/linux", "./blobs"} {
		out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", room).CombinedOutput()
		if err != nil {
			t.Fatalf("go list -deps %s: %v\n%s", room, err, out)
		}
		if strings.Contains(string(out), "github.com/nats-io/") {
			t.Errorf("%s knows NATS", room)
		}
	}
}

// TestPackageDocs asks every package for a doc comment.
func TestPackageDocs(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.ImportPath}}\t{{.Doc}}", "./...").CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		path, doc, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if doc == "" && path != "muster" {
			t.Errorf("%s has no package comment", path)
		}
	}
}
