package cli

import (
	"fmt"
	"strings"
)

// checkPattern holds a pattern of subjects against NATS's rules: tokens, of which one may be * for any, and the last one
// > for any number.
func checkPattern(pattern string) error {
	tokens := strings.Split(pattern, ".")
	for i, token := range tokens {
		wild := strings.ContainsAny(token, "*>") && token != "*" && (token != ">" || i < len(tokens)-1)
		if token == "" || wild || strings.ContainsAny(token, " \t\r\n\x00") {
			return fmt.Errorf("%.100q is not a subject; sys.transition, sys.api.state.* or sys.> would be right", pattern)
		}
	}
	return nil
}

// overlap reports whether there is a subject that both patterns match. A subject without wildcards is a pattern too.
func overlap(a, b string) bool {
	for {
		headA, restA, moreA := strings.Cut(a, ".")
		headB, restB, moreB := strings.Cut(b, ".")
		switch {
		case headA == ">" || headB == ">":
			return true
		case headA != headB && headA != "*" && headB != "*" || moreA != moreB:
			return false
		case !moreA:
			return true
		}
		a, b = restA, restB
	}
}
