package wire

import (
	"slices"
	"strings"
)

// The rights that no row of a table needs, because a handler asks for them or because they include others.
const (
	RightAdmin    = "admin"          // every other right, and the store of the bus as it is
	RightOverride = "state:override" // act over others' heads: force, a shorter limit, abort, resume for another
	RightCall     = "call:<name>"    // book a handler that another identity offers
)

// Rights lists every right there is, parameters in angle brackets, sorted.
func Rights() []string {
	rights := []string{RightAdmin, RightOverride, RightCall}
	for _, e := range Endpoints() {
		rights = append(rights, e.Right)
	}
	for _, e := range Events() {
		rights = append(rights, e.Right, e.Sender)
	}
	slices.Sort(rights)
	return slices.DeleteFunc(slices.Compact(rights), func(right string) bool { return right == "" })
}

// CheckRight holds a right as somebody granted it, its parameters filled, "*" meaning any, against those that there are.
func CheckRight(granted string) error {
	known := Rights()
	if slices.ContainsFunc(known, func(right string) bool { return fits(right, granted) }) {
		return nil
	}
	return Malformed("%s is not a right; the nearest is %s", quote(granted), Nearest(granted, known))
}

// fits reports whether granted is the right with its parameters filled.
func fits(right, granted string) bool {
	words, got := strings.Split(right, ":"), strings.Split(granted, ":")
	if len(words) != len(got) {
		return false
	}
	for i, word := range words {
		before, _, parameter := strings.Cut(word, "<")
		switch {
		case !parameter && word != got[i]:
			return false
		case parameter && got[i] != "*" && (!strings.HasPrefix(got[i], before) || CheckName("", got[i][len(before):]) != nil):
			return false
		}
	}
	return true
}

// Grants reports whether what was granted includes the right that is needed, both filled. A "*" includes everything
// but a secret blob: whoever is to read or write one was told so by its name.
func Grants(granted, needed string) bool {
	switch granted {
	case needed, RightAdmin:
		return true
	}
	got, want := strings.Split(granted, ":"), strings.Split(needed, ":")
	if len(got) != len(want) {
		return false
	}
	for i := range got {
		if got[i] != want[i] && got[i] != "*" {
			return false
		}
	}
	known, _ := KnownBlob(want[len(want)-1])
	return want[0] != "blob" || !known.Secret
}
