// Command mangen makes what the command line says of itself into documents: the manual pages in docs/man, one for each
// command below muster and one for the configuration, and the tables between the marks of docs/cli.md. The text is
// that of the commands' help and of the settings' table, so that there is one place to write it. Nothing in them
// depends on the day or on the machine.
//
// It is run from the root of the repository: go run ./internal/mangen. A test fails when a document has drifted.
package main
