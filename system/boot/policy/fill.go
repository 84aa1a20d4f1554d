package policy

import (
	"encoding"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"time"

	"muster/wire"
)

// fill puts a tree into a document. Keys that the document does not have, those that it needs and values of another kind are
// faults.
func fill(d *Document, tree map[string]any) error {
	if f := fillStruct(reflect.ValueOf(d).Elem(), tree); f != nil {
		return f
	}
	return nil
}

// fillValue puts one value in its place.
func fillValue(v reflect.Value, value any) *fault {
	if moment, ok := reflect.TypeAssert[*time.Time](v.Addr()); ok {
		return fillTime(moment, value)
	}
	if text, ok := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr()); ok {
		given, ok := value.(string)
		if !ok {
			return wrong("is %s; a text would be right", kindOf(value))
		}
		if err := text.UnmarshalText([]byte(given)); err != nil {
			return wrong("%v", err)
		}
		return nil
	}
	switch v.Kind() {
	case reflect.Struct:
		table, ok := value.(map[string]any)
		if !ok {
			return wrong("is %s; a table would be right", kindOf(value))
		}
		return fillStruct(v, table)
	case reflect.Map:
		return fillMap(v, value)
	case reflect.Slice:
		return fillList(v, value)
	case reflect.Int:
		n, err := integer(value)
		if err != nil {
			return wrong("is %s; an integer would be right", kindOf(value))
		}
		v.SetInt(n)
		return nil
	default: // a string; the document has no other kinds
		text, ok := value.(string)
		if !ok {
			return wrong("is %s; a text would be right", kindOf(value))
		}
		v.SetString(text)
		return nil
	}
}

func fillStruct(v reflect.Value, table map[string]any) *fault {
	var known []string
	for _, field := range reflect.VisibleFields(v.Type()) {
		key, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		known = append(known, key)
		value, there := table[key]
		if !there {
			if field.Tag.Get("policy") == "required" {
				return wrong("is missing").at(key)
			}
			continue
		}
		if f := fillValue(v.FieldByIndex(field.Index), value); f != nil {
			return f.at(key)
		}
	}
	for key := range table {
		if !slices.Contains(known, key) { // and not but for upper and lower case, as package json has it
			return wrong("is not known; did you mean %s?", wire.Nearest(key, known)).at(key)
		}
	}
	return nil
}

func fillMap(v reflect.Value, value any) *fault {
	table, ok := value.(map[string]any)
	if !ok {
		return wrong("is %s; tables with names would be right", kindOf(value))
	}
	v.Set(reflect.MakeMap(v.Type()))
	for name, inner := range table {
		element := reflect.New(v.Type().Elem()).Elem()
		if f := fillValue(element, inner); f != nil {
			return f.at(name)
		}
		v.SetMapIndex(reflect.ValueOf(name), element)
	}
	return nil
}

func fillList(v reflect.Value, value any) *fault {
	list, ok := value.([]any)
	if !ok {
		return wrong("is %s; a list would be right", kindOf(value))
	}
	v.Set(reflect.MakeSlice(v.Type(), len(list), len(list)))
	for i, inner := range list {
		if f := fillValue(v.Index(i), inner); f != nil {
			return wrong("has an element that %s", f.what)
		}
	}
	return nil
}

// fillTime takes TOML's own times, if they have a zone, and texts.
func fillTime(moment *time.Time, value any) *fault {
	switch given := value.(type) {
	case time.Time:
		if zone, _ := given.Zone(); strings.HasSuffix(zone, "-local") {
			return wrong("has no time zone; one such as 2026-11-24T08:00:00Z would be right")
		}
		*moment = given
		return nil
	case string:
		parsed, err := time.Parse(time.RFC3339, given)
		if err != nil {
			return wrong("is %q; a time such as \"2026-11-24T08:00:00Z\" would be right", given)
		}
		*moment = parsed
		return nil
	}
	return wrong("is %s; a time would be right", kindOf(value))
}

// integer takes the integers of both formats.
func integer(value any) (int64, error) {
	switch n := value.(type) {
	case int64:
		return n, nil
	case json.Number:
		return n.Int64()
	}
	return 0, errors.New("no integer")
}

// kindOf says what a value is.
func kindOf(value any) string {
	switch value.(type) {
	case nil:
		return "null"
	case string:
		return "a text"
	case bool:
		return "true or false"
	case []any, []map[string]any:
		return "a list"
	case map[string]any:
		return "a table"
	case time.Time:
		return "a time"
	default:
		return "a number"
	}
}
