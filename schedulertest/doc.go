// Package schedulertest tests jobs, without a cluster and without containers: what it
// needs is a *testing.T and a database, as a pool, a connection, or a transaction of the
// test's own.
//
// [RunOnce] runs one job once, at a tick and with parameters of the test's choosing.
// [Contract] puts a job through what every job must stand: it runs twice without harm, a
// dry run changes nothing, it stops when it is told to, its counts are true. [Ticks]
// says when a schedule is due.
//
// # One connection, and nothing stays
//
// All of a test happens on one connection, in one transaction that is rolled back. What
// the job takes for transactions, its run's and those of run.Beginner, are savepoints in
// it. So a job sees what the test has written and not committed, and whatever it does is
// undone. This is different from a worker:
//
//   - Transactions of run.Beginner see what the run's transaction has not committed, and
//     can be rolled back only youngest first ([ErrOrder]). They do not set an isolation
//     level of their own.
//   - now() is the same in all batches. A rule about age should use run.Now in any case.
//   - What is deferred to the commit is not checked, unless a statement asks for it (SET
//     CONSTRAINTS ALL IMMEDIATE). SET is undone at the end, as SET LOCAL is.
//   - Sequences go on, as they always do.
//
// What the job does through other connections, such as a pool in [Options.App], is out of
// the kit's reach and stays.
//
// A job that uses the scheduler's schema, such as those of package jobs/retention, needs a
// database in which it exists: scheduler.MigrateUp makes it.
package schedulertest
