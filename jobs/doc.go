// Package jobs is the contract between the scheduler and the work it runs:
// what a job is, the run handed to it, the result it gives back, and the
// registry that lists jobs.
//
// A job takes one of two forms. A [TxJob] does its work in one transaction,
// which also holds the run's record; [Func] makes one from a plain function.
// A [BatchJob] cuts its work into short transactions; each commits its effect
// together with the progress it made, and the last one completes the run.
//
// The package knows neither River nor any SQL driver beyond [pgx.Tx].
package jobs
