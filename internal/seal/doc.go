// Package seal keeps what lies on a disk from whoever has the disk and not the key.
//
// A store has one [Key] of 32 bytes. It comes from a systemd credential, from a key file that the configuration names,
// or else from store.key beside the store, which is made with a new store and is worth what its place is worth: it
// keeps out who copies the store, not who copies the whole disk. From the key others are derived, one for each purpose,
// and none of them can be printed, logged or marshalled. Nothing here speaks to a TPM: on Linux that is what systemd's
// credentials are for (systemd-creds encrypt --with-key=tpm2, LoadCredentialEncrypted= in the unit), and the server's
// own support for one exists on Windows alone.
//
// Beside the store lies its token, store.seal, which only the right key opens. [Open] holds a key against the token and
// against everything that is sealed already, before anybody writes anything, because a server that is started with
// another key drops what it cannot read:
//
//	key                 token         what is sealed         what is done
//	none, its own file  none          nothing                a key is made
//	none, its own file  any, or none  something              refused: the key is missing
//	there               opens         opens, or nothing      opened
//	there               none          opens, or nothing      opened; Confirm makes the token
//	there               any, or none  does not open          refused: the key, or what it should open, is another's
//	there               does not open any                    refused: the key, or the token, is another's
//	there               damaged       any                    refused: the token is damaged
//
// A refusal leaves every byte as it was and says what would be right. The order of a first start is the key, the token,
// the store, each on disk before the next is begun, so that a power cut in between leaves one of the rows above that
// ends well.
//
// A [Dir] is a folder of sealed files: AES-256-GCM, each bound to its name. What a seal does not do: it does not hide
// names, sizes and times; it does not keep who can write to the disk from putting an older file in the place of a newer
// one of that name; and what a flash once held in plain may be read from its cells until it writes over them.
//
// The package stands above internal/durable and knows nothing else of ours.
package seal
