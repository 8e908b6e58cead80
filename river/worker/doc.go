// Package worker runs jobs inside River.
//
// Each replica has one River client that works jobs and leads nothing. Whatever
// a run changes commits in a transaction that first proves that the attempt is
// still in charge (see [sql.Statements.Fence]) and that also holds the run's
// record; the last transaction completes River's job.
//
// River's executor reports the end of an attempt without asking whether the
// attempt is still in charge. So it is left nothing to report: failures and
// interruptions are recorded here, by statements that ask, and on the database's
// clock.
package worker
