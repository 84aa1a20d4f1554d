package system

import (
	"slices"

	"muster/wire"
)

// rank orders the moves: a wish of higher rank takes the place of a running move of a lower one.
type rank int

const (
	stepping rank = iota
	modal
	fallingBack
	withdrawing // of the policy: to POLICY_INVALID, and from there back to INITIALIZED
	destroying
)

// jumps lists, by target, the states from which one jump leads there. Stepping upwards, falling back, and the end
// that can come from anywhere need no entry.
var jumps = map[wire.State]struct {
	from []wire.State
	rank rank
}{
	wire.PolicyInvalid: {
		from: []wire.State{
			wire.PolicyValid, wire.Registered, wire.Auth1, wire.Auth2, wire.OneTimeUpdates, wire.Operational,
			wire.AwaitingModalUpdating,
		},
		rank: withdrawing,
	},
	wire.Initialized:           {from: []wire.State{wire.PolicyInvalid}, rank: withdrawing},
	wire.AwaitingModalUpdating: {from: []wire.State{wire.Operational}, rank: modal},
	wire.ModalUpdating:         {from: []wire.State{wire.AwaitingModalUpdating}, rank: modal},
	wire.Operational:           {from: []wire.State{wire.AwaitingModalUpdating, wire.ModalUpdating}, rank: modal},
}

// course is what a wish comes to, seen from one state.
type course int

const (
	isReached  course = iota // the system is there, or past it
	joinsSteps               // the climb of the boot states leads there
	jumpsThere               // one transition leads there
	waitsThere               // it will be possible later: out of MODAL_UPDATING
)

// plot says what a wish comes to when the system is in state, and the rank of the jump if it is one. A move that does
// not exist is a 409.
func plot(state wire.State, wish wire.StateWish) (course, rank, error) {
	target := wish.Target
	switch {
	case target == wire.Unknown:
		return 0, 0, wire.Conflict("no move leads to %s; CONTEXT_CREATED or above would be right", target)
	case target == state:
		return isReached, 0, nil
	case wish.FallBack:
		if !target.Boot() || !state.Boot() || target > state {
			return 0, 0, wire.Conflict("cannot fall back from %s to %s; an earlier boot state would be right", state, target)
		}
		return jumpsThere, fallingBack, nil
	case target == wire.ContextDestroying:
		return jumpsThere, destroying, nil
	case target.Boot() && (state == wire.Unknown || state.Boot() || state == wire.PolicyInvalid):
		if state.Boot() && target < state {
			return isReached, 0, nil
		}
		return joinsSteps, 0, nil
	case target.Boot() && state.Modal() && target < wire.Operational:
		return isReached, 0, nil
	case target == wire.PolicyInvalid && (state == wire.Unknown || state.Boot() && state < wire.PolicyValid):
		return isReached, 0, nil // no policy is in force that could become invalid
	case target == wire.PolicyInvalid && state == wire.ModalUpdating:
		return waitsThere, withdrawing, nil
	}
	if jump, ok := jumps[target]; ok && slices.Contains(jump.from, state) {
		return jumpsThere, jump.rank, nil
	}
	return 0, 0, wire.Conflict("no move leads from %s to %s%s", state, target, way(target))
}

// way tells from where a target can be reached.
func way(target wire.State) string {
	switch target {
	case wire.AwaitingModalUpdating:
		return "; it is reached from OPERATIONAL"
	case wire.ModalUpdating:
		return "; it is reached from AWAITING_MODAL_UPDATING"
	default:
		return ""
	}
}

// fulfilled reports whether a system in state has what the wish asked for.
func fulfilled(state wire.State, wish wire.StateWish) bool {
	if wish.FallBack {
		return state == wish.Target
	}
	return state.Has(wish.Target)
}
