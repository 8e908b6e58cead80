// Package web is the HTTP surface of a replica: its health, its metrics, the overview
// page, River UI, and a JSON API for what the command line does.
//
// # Who may do what
//
// /healthz, /readyz and /metrics are open to whoever can reach the address. All else
// is open for reading only where the server listens on loopback and the request names
// a loopback host: a page elsewhere that points its own name at 127.0.0.1, or a proxy
// in front, is not at the machine. Everywhere else, and for each changing call, a
// request needs the token or the user's password. Changing calls that a browser sends
// for a page of another site are refused, credentials or not, and in read-only mode
// all of them are. What the API can do, it does by the same functions of the schema as
// everybody else: with the rights of the replica's role, in one statement.
//
// # What holds it up
//
// Nothing here is needed for a replica's work, and nothing here can stop it: the server
// has its own few connections, every request a deadline and every body a bound, and
// what all watchers of the overview see is read once for all of them.
package web
