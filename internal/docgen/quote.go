package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// quoteMark encloses a file of the repository that a page shows, whole or from the line with one text to the line with
// another: <!-- from: FILE, "bus, err" to "Close" -->.
var quoteMark = regexp.MustCompile(`(?s)(<!-- from: (\S+?)(?:, "([^"]+)" to "([^"]+)")? -->\n).*?(<!-- end -->)`)

// languages are the names of the languages of what is shown, by the ending of its file.
var languages = map[string]string{".go": "go", ".sh": "sh", ".py": "python", ".toml": "toml"}

// quote puts the files of the repository at root in between the marks of a page.
func quote(root string, page []byte) ([]byte, error) {
	var failed error
	filled := quoteMark.ReplaceAllFunc(page, func(found []byte) []byte {
		parts := quoteMark.FindSubmatch(found)
		file, first, last := string(parts[2]), string(parts[3]), string(parts[4])
		source, err := os.ReadFile(filepath.Join(root, file))
		text := string(source)
		if err == nil {
			text, err = excerpt(text, first, last)
		}
		if err != nil {
			failed = fmt.Errorf("quote %s: %w", file, err)
			return found
		}
		return fmt.Appendf(nil, "%s```%s\n%s```\n%s", parts[1], languages[filepath.Ext(file)], text, parts[5])
	})
	return filled, failed
}

// excerpt gives the lines of a text from the one with first in it to the next with last, without the indent of the first.
// Without the two it is the whole text.
func excerpt(text, first, last string) (string, error) {
	if first == "" {
		return text, nil
	}
	lines := strings.SplitAfter(text, "\n")
	start := slices.IndexFunc(lines, func(line string) bool { return strings.Contains(line, first) })
	if start < 0 {
		return "", fmt.Errorf("it has no line with %q", first)
	}
	length := 1 + slices.IndexFunc(lines[start:], func(line string) bool { return strings.Contains(line, last) })
	if length == 0 {
		return "", fmt.Errorf("it has no line with %q behind the one with %q", last, first)
	}
	indent := lines[start][:len(lines[start])-len(strings.TrimLeft(lines[start], "\t "))]
	var b strings.Builder
	for _, line := range lines[start : start+length] {
		b.WriteString(strings.TrimPrefix(line, indent))
	}
	return b.String(), nil
}
