// Package scheduler is a Postgres-native scheduler: replicas of a program elect
// one leader by an advisory lock; the leader turns cron schedules that are stored
// in Postgres into River jobs; every replica works them; what a job changes
// commits in one transaction with the job's record.
//
// A program that brings its own jobs registers them with package jobs, makes a
// [Scheduler] with [New] and calls its Run. Package cmd/scheduler is such a
// program, with the built-in cleanup jobs. [Client] reads and steers a running
// fleet.
package scheduler
