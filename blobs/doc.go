// Package blobs keeps the device's identity and secrets: named byte blobs, each in the bucket of the bus and, besides,
// in a checksummed snapshot file, because one flipped bit in a store can hide much of it.
//
// A write that was answered is on disk in both. Each value in the bucket carries a digest. At the start every blob is
// held against its snapshot ([Blobs.Load]):
//
//	bucket                              snapshot             what is done
//	value, digest right                 as the bucket        nothing
//	value, digest right                 none, or older       snapshot written anew
//	value, digest right                 newer than the last  restored from the snapshot: the bucket lost its end
//	value, digest wrong                 whole                restored from the snapshot
//	value, digest wrong                 none, or damaged     reported; reading it is an error until it is set again
//	nothing, not even a marker          damaged              likewise
//	value without a digest              any, not newer       adopted: another client put it there
//	deleted, by a marker                any, not newer       left deleted, snapshot removed
//	nothing, not even a marker          whole                restored from the snapshot
//	value, digest right                 damaged              snapshot written anew from the bucket, reported
//
// The package is plain Go above wire; the bucket comes in as a [Store]. Methods are safe for concurrent use; writers
// of one blob take turns.
package blobs
