// Package importing turns the schedules of other programs into a configuration: those
// that pg_cron keeps in a table, and those of a crontab.
//
// It changes nothing where it reads. What has no equal here is said in a comment beside the
// job, and what cannot be a job here is written as a comment as a whole, with the reason.
// So the file that comes out can always be read, and nothing is left out in silence.
package importing
