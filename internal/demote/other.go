//go:build !linux

package demote

import "errors"

var errNotHere = errors.New("only on Linux can a running daemon become another user")

// Begin is only there on Linux.
func Begin(Account) error { return errNotHere }

// AsRoot runs f.
func AsRoot(f func() error) error { return f() }

// Own is only there on Linux.
func Own(Account, string) error { return errNotHere }

// Drop is only there on Linux.
func Drop(Account, Set) (Set, error) { return 0, errNotHere }
