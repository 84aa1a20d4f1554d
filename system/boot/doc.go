// Package boot has the notifiers that are built in: those that bring a Linux device up. Each is also an example of how
// to write one.
//
// Each is a [Part]: a [system.Notifier], which answers at once from what is known, and a Run, which does the work and
// gets to know it. A part that holds says for what, in words that help somebody who reads them at three in the
// morning; it tells the machine through its [Gate] when that has come; and when its patience ends it lets the device go
// on without, and says what is missing. Nothing that is slow, gone or wrong outside makes Run return or an answer
// late: it becomes a reason.
//
// What a part needs of the outside is a small interface that stands beside it, so that tests play it in a bubble of
// testing/synctest; the real one is a small file for its operating system.
//
// All of them are off until the configuration turns them on. The package knows wire and system only.
package boot
