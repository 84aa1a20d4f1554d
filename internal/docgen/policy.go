package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"muster/system/boot/policy"
)

// policyPage is the page that says what stands in a policy.
const policyPage = "docs/policy.md"

// policyTables fills it from the tags of package policy.
func policyTables(root string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(root, policyPage))
	if err != nil {
		return nil, err
	}
	text, err = fill(text, map[string]string{
		"policy":   policyKeys(reflect.TypeFor[policy.Document]()),
		"retry":    policyKeys(reflect.TypeFor[policy.Retry]()),
		"endpoint": policyKeys(reflect.TypeFor[policy.Endpoint]()),
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", policyPage, err)
	}
	return text, nil
}

// policyKeys is the table of a struct's keys.
func policyKeys(t reflect.Type) string {
	rows := [][]string{{"key", "value", "", "meaning"}}
	for _, f := range reflect.VisibleFields(t) {
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		rows = append(rows, []string{code(key), valueOf(f.Type), f.Tag.Get("policy"), f.Tag.Get("doc")})
	}
	return table(rows...)
}

// valueOf names the kind of a value.
func valueOf(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[time.Time]():
		return "time"
	case reflect.TypeFor[policy.Duration]():
		return "duration"
	}
	switch t.Kind() {
	case reflect.Slice:
		return "list: " + valueOf(t.Elem())
	case reflect.Map:
		return "tables with names"
	case reflect.Int:
		return "integer"
	default:
		return "text"
	}
}
