package system

import (
	"cmp"
	"slices"
)

// roll is who takes part: notifiers, and the places of those that are required and away.
type roll struct {
	named  map[string]*notifier
	inTurn []*notifier // by order, those of one order by name
}

// enter puts a notifier in, in place of the one of that name.
func (r *roll) enter(n *notifier) {
	r.strike(n.name)
	r.named[n.name] = n
	r.inTurn = slices.Insert(r.inTurn, r.place(n), n)
}

// strike takes whoever has that name out.
func (r *roll) strike(name string) {
	if n := r.named[name]; n != nil {
		i := r.place(n)
		r.inTurn = slices.Delete(r.inTurn, i, i+1)
		delete(r.named, name)
	}
}

// place is where a notifier stands, or would.
func (r *roll) place(n *notifier) int {
	i, _ := slices.BinarySearchFunc(r.inTurn, n, func(a, b *notifier) int {
		return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.name, b.name))
	})
	return i
}
