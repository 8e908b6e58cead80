// Package declared makes jobs of what is declared rather than written in Go: SQL, an
// HTTP request, a command. The configuration file has a key for each kind
// (docs/declared-jobs.md); the constructors are the same for Go programs.
//
// [SQL] works in the run's transaction: what it changes commits together with the
// record of the run, or not at all. [SQLOutsideTransaction], [HTTP] and [Exec] cannot
// promise that: what they do happens before it is recorded, and so again where the
// record is lost, that is at least once. See [SQLOutsideTransaction] for the rest.
//
// What a job does is fixed when it is made. Nothing that is read from the database
// decides which statement, address or command is used; a run's parameters are values
// of declared types, and are handed over as such.
package declared
