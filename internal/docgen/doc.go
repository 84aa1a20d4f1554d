// Command docgen makes the documents that say what the tables of package wire say: docs/asyncapi.yaml whole, and in
// docs/protocol.md what stands between a "generated" mark and the next "end" mark. What is explained in them is the comment
// of the type or field in wire's source, so that there is one place to write it. In other pages it puts the examples
// in between a "from" mark and the next "end" mark.
//
// It is run from the root of the repository: go run ./internal/docgen. A test fails when a document has drifted.
package main
