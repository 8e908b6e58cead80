// Package scheduler is a Postgres-native scheduler: replicas of a program elect
// one leader by an advisory lock; the leader turns cron schedules that are stored
// in Postgres into River jobs; every replica works them; what a job changes
// commits in one transaction with the job's record.
//
// A program that brings its own jobs registers them with package jobs, makes a
// [Scheduler] with [New] and calls its Run. Package cmd/scheduler is such a
// program, with the built-in cleanup jobs. [Client] reads and steers a running
// fleet. [Repository] reads the platform's data.
//
// The other packages that are made to be imported: jobs, what a job is; jobs/cron, cron
// text; jobs/retention, the cleanup engine; jobs/declared, jobs of SQL, requests and
// commands; jobs/cleanup, the built-in jobs; schedulertest, to test jobs; schedulerhttp,
// the pages and the API in a program's own HTTP server; cmd/scheduler/cli, the command
// line for a program with jobs of its own; migrations, the schema. Packages river and sql
// are what these are made of, and change without notice.
package scheduler
