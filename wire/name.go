package wire

// MaxName is the most characters a name may have.
const MaxName = 64

// CheckName checks the name of a notifier, blob, handler or device: one subject token of 1 to 64 characters
// from [A-Za-z0-9_-]. What says which kind of name it is, for the message.
func CheckName(what, name string) error {
	if name == "" {
		return Malformed("%s name is empty; use 1 to %d characters from A-Z a-z 0-9 _ -", what, MaxName)
	}
	for _, c := range name {
		if !inName(c) {
			return Malformed("%s name %s has %s in it; use 1 to %d characters from A-Z a-z 0-9 _ -", what, quote(name), quote(string(c)), MaxName)
		}
	}
	if len(name) > MaxName {
		return Malformed("%s name %s has %d characters; at most %d are allowed", what, quote(name), len(name), MaxName)
	}
	return nil
}

// inName reports whether a name may have that character.
func inName(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-'
}
