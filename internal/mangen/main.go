package main

import (
	"bytes"
	"fmt"
	"log"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"muster/internal/cli"
)

func main() {
	log.SetFlags(0)
	if err := run("."); err != nil {
		log.Fatalln("mangen:", err)
	}
}

// The places of the documents.
const (
	manual   = "docs/man"
	handbook = "docs/cli.md"
)

// run writes every document of the repository at root anew, and takes away the pages of commands that are gone.
func run(root string) error {
	made, err := documents(root)
	if err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(root, manual, "*.[0-9]"))
	if err != nil {
		return err
	}
	for _, path := range old {
		if made[filepath.Join(manual, filepath.Base(path))] == nil {
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	if err := os.MkdirAll(filepath.Join(root, manual), 0o755); err != nil {
		return err
	}
	for _, file := range slices.Sorted(maps.Keys(made)) {
		if err := os.WriteFile(filepath.Join(root, file), made[file], 0o644); err != nil {
			return err
		}
	}
	return nil
}

// documents makes every document; the keys are paths below root.
func documents(root string) (map[string][]byte, error) {
	command := cli.Root()
	command.InitDefaultCompletionCmd()
	made := map[string][]byte{filepath.Join(manual, "muster.1"): mainPage(command)}
	for _, c := range command.Commands() {
		if c.IsAvailableCommand() && c.Name() != "help" {
			made[filepath.Join(manual, pageName(c)+".1")] = commandPage(c)
		}
	}
	page, err := configPage()
	if err != nil {
		return nil, err
	}
	made[filepath.Join(manual, "muster.toml.5")] = page
	text, err := os.ReadFile(filepath.Join(root, handbook))
	if err != nil {
		return nil, err
	}
	made[handbook], err = fill(text, map[string]string{"exit-codes": exitCodes(), "commands": commands(command)})
	return made, err
}

// mark encloses what is made: the first line stays, the text up to the end is replaced.
var mark = regexp.MustCompile(`(?s)(<!-- generated: ([a-z-]+) -->\n).*?(<!-- end -->)`)

// fill puts each table where its mark is.
func fill(page []byte, tables map[string]string) ([]byte, error) {
	for name, table := range tables {
		if !bytes.Contains(page, []byte("<!-- generated: "+name+" -->\n")) {
			return nil, fmt.Errorf("%s has no place for %s", handbook, name)
		}
		page = mark.ReplaceAllFunc(page, func(found []byte) []byte {
			if parts := mark.FindSubmatch(found); string(parts[2]) == name {
				return []byte(string(parts[1]) + table + string(parts[3]))
			}
			return found
		})
	}
	return page, nil
}
