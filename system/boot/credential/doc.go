// Package credential is what a device shows to say who it is: its key, the request to have it certified, and the
// certificate that comes back, which is believed only after [Check].
//
// It holds nothing and asks nobody; keys are made with the randomness of the operating system.
package credential
