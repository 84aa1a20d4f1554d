// Package deploy holds the tests of what puts muster onto a device: the units of systemd, its user, its folders.
package deploy
