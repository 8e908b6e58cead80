// Package connection is what every connection of the scheduler shares: where its
// settings come from, how a dead peer is noticed, which errors mean that the
// database is away rather than that it refuses, how long to wait before the next
// try, and what is said about it in the log.
package connection
