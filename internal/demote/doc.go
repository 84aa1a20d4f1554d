// Package demote has a process that was started as root become another user, in two steps.
//
// [Begin] gives a folder to the user and has every file from then on made and opened as that user's, while the process
// is still root in everything else: it cannot be led to write through a link that the user has laid, and what it makes
// needs no change of hands later. [Drop] gives up the rest: the user, the groups, every capability but those that are to
// be kept, in every set, and the way back. Both hold for every thread, and both are believed only after the kernel's own
// account of every thread was read back.
//
// It stands below every other package, and needs a program that is built without cgo. Its functions change the whole
// process: nobody may call two of them at the same time.
package demote
