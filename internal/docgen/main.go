package main

import (
	"fmt"
	"log"
	"os"
	"path/filepath"
)

func main() {
	log.SetFlags(0)
	if err := run("."); err != nil {
		log.Fatalln("docgen:", err)
	}
}

// run writes every document of the repository at root anew.
func run(root string) error {
	made, err := documents(root)
	if err != nil {
		return err
	}
	for file, content := range made {
		if err := os.WriteFile(filepath.Join(root, file), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// documents makes every document from the source at root; the keys are paths below it.
func documents(root string) (map[string][]byte, error) {
	source, err := readSource(filepath.Join(root, "wire"))
	if err != nil {
		return nil, err
	}
	spec, err := asyncAPI(source)
	if err != nil {
		return nil, err
	}
	const page = "docs/protocol.md"
	text, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		return nil, err
	}
	text, err = fill(text, tables(source))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", page, err)
	}
	made := map[string][]byte{"docs/asyncapi.yaml": spec, page: text}
	if made[policyPage], err = policyTables(root); err != nil {
		return nil, err
	}
	for _, page := range quoting {
		text, err := os.ReadFile(filepath.Join(root, page))
		if err != nil {
			return nil, err
		}
		if made[page], err = quote(root, text); err != nil {
			return nil, fmt.Errorf("%s: %w", page, err)
		}
	}
	return made, nil
}

// quoting are the pages that show files of the repository.
var quoting = []string{"README.md", "docs/writing-a-notifier.md"}
