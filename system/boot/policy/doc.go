// Package policy is the policy document of a device: what it says, and how it is read.
//
// A policy tells a device where its services are and how to retry them, apart from the firmware, so that it can change when
// they do. It is TOML or JSON with the same keys. [Parse] is strict: a key that it does not know, one that stands
// twice and a value that cannot be right are errors with the line. A [Document] that it gave has been checked as a whole.
//
// The package reads nothing and keeps nothing; see [muster/system/boot.Policy] for that.
package policy
