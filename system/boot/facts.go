package boot

import (
	"maps"
	"slices"
	"strings"
)

// facts are what is known of the network: its interfaces by the kernel's numbers.
type facts map[int]link

// link is an interface, and what hangs on it.
type link struct {
	name      string // "" when only what hangs on it is known, because it came or went while it was looked at
	up        bool
	addresses []string // sorted
	routes    []string // the gateways of default routes, sorted; "" for one that needs none
}

// factsOf puts a picture together.
func factsOf(picture []Fact) facts {
	f := facts{}
	for _, fact := range picture {
		l := f[fact.Index]
		switch fact.Kind {
		case Link:
			l.name, l.up = fact.Name, fact.Up
		case Address:
			l.addresses = with(l.addresses, fact.Value)
		case Route:
			l.routes = with(l.routes, fact.Value)
		}
		f[fact.Index] = l
	}
	return f
}

// Describe puts a picture into words for people, a line for each interface but the loopback interface.
func Describe(picture []Fact) (lines []string) {
	f := factsOf(picture)
	for _, i := range slices.Sorted(maps.Keys(f)) {
		l := f[i]
		if l.name == "" || l.name == loopback {
			continue
		}
		line := l.name + " is " + l.says("link")
		if text := l.says("address"); text != "" {
			line += ", has " + text
		}
		if text := l.says("route"); text != "" {
			line += ", default route " + text
		}
		lines = append(lines, line)
	}
	return lines
}

// with gives a sorted list with a value in it.
func with(list []string, value string) []string {
	i, there := slices.BinarySearch(list, value)
	if there {
		return list
	}
	return slices.Insert(list, i, value)
}

// standing tells how much of what an interface needs it has, and what it lacks first; "" when that is nothing.
func (l link) standing() (has int, lacks string) {
	switch {
	case !l.up:
		return 0, l.name + " has no link"
	case len(l.addresses) == 0:
		return 1, "no address of global scope on " + l.name
	case len(l.routes) == 0:
		return 2, "no default route on " + l.name
	}
	return 3, ""
}

// telling is a change, and what of.
type telling struct {
	Change
	what string
}

// changes lists what is not as it was: links, then addresses, then routes.
func (f facts) changes(old facts) []telling {
	var found []telling
	numbers := slices.Sorted(maps.Keys(f))
	for _, i := range slices.Sorted(maps.Keys(old)) {
		if _, there := f[i]; !there {
			numbers = append(numbers, i)
		}
	}
	for _, what := range []string{"link", "address", routeTopic} {
		for _, i := range numbers {
			was, is := old[i], f[i]
			name := is.name
			if name == "" {
				name = was.name
			}
			if a, b := was.says(what), is.says(what); a != b && name != "" {
				found = append(found, telling{Change{Interface: name, Old: a, New: b}, what})
			}
		}
	}
	return found
}

// says gives one side of an interface as a word for people; "" is nothing.
func (l link) says(what string) string {
	switch {
	case l.name == "":
		return ""
	case what == "address":
		return strings.Join(l.addresses, " ")
	case what == "route":
		words := slices.Clone(l.routes)
		for i, gateway := range words {
			if gateway == "" {
				words[i] = "direct"
			}
		}
		return strings.Join(words, " ")
	case l.up:
		return "up"
	}
	return "down"
}
