package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs"
)

// agendaLineMax is how many runs of a job's line the agenda shows one by one.
const agendaLineMax = 5

func (a *app) agendaCommand() *cobra.Command {
	var within, jobName string
	cmd := &cobra.Command{
		Use:   "agenda",
		Short: "Show what comes next: the ticks of all jobs, and the runs that were asked for",
		Long: `Shows what is going to run: the runs that wait in line, which have no time, and then,
earliest first, the ticks of all jobs that are planned and the runs that were asked
for. A job that has more than 24 ticks is one row. Jobs that are paused, disabled or
not registered have no ticks.

In JSON, status is planned for a tick, and otherwise that of the run in the ledger:

  scheduled  it waits for its time
  waiting    it is in its job's line; run_at is null
  requested  the leader has not decided about it
  pending    it waits for a worker
  retrying   an attempt has failed; run_at is the time of the next one

"Now" is the time of the database's clock, which decides everything.`,
		Example: `  scheduler agenda
  scheduler agenda --for 7d --job database_cleanup
  scheduler agenda --for 90m --json | jq -r '.[] | [.run_at, .job_name] | @tsv'`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			span, err := parseSpan(within)
			if err != nil {
				return &usageError{command: cmd, err: fmt.Errorf("--for: %w", err)}
			}
			return a.withClient(cmd.Context(), func(client *scheduler.Client) error {
				return a.agenda(cmd.Context(), client, span, jobName)
			})
		},
	}
	cmd.Flags().StringVar(&within, "for", "24h", "how far to look ahead, as a `duration` such as 90m, 24h or 7d")
	cmd.Flags().StringVar(&jobName, "job", "", "only of this job")
	_ = cmd.RegisterFlagCompletionFunc("for", cobra.NoFileCompletions) // it exists
	_ = cmd.RegisterFlagCompletionFunc("job", a.completeJobName)       // it exists
	a.addJSON(cmd)
	return cmd
}

func (a *app) agenda(ctx context.Context, client *scheduler.Client, span time.Duration, jobName string) error {
	entries, err := client.Agenda(ctx, span)
	if err != nil {
		return err
	}
	if jobName != "" {
		if _, err := a.findJob(ctx, client, jobName); err != nil {
			return err
		}
		entries = slices.DeleteFunc(entries, func(entry scheduler.AgendaEntry) bool { return entry.JobName != jobName })
	}
	if a.json {
		return a.writeJSON(listJSON(entries))
	}
	state, now, err := stateAndClock(ctx, client)
	if err != nil {
		return err
	}
	if _, err := a.saysNobodyLeads(ctx, client, "nothing is run"); err != nil {
		return err
	}
	if len(entries) == 0 {
		fmt.Fprintf(a.stdout, "Nothing runs until %s.\n", localTime(now.Add(span)))
	} else {
		writeTable(a.stdout, []string{"TIME", "IN", "JOB", "WHAT"}, agendaRows(entries, now))
	}
	a.writeNotes(stateNotes(state, now))
	return nil
}

// agendaRows are the rows of the agenda. Of a job's long line, only the beginning is
// shown.
func agendaRows(entries []scheduler.AgendaEntry, now time.Time) [][]string {
	line := make(map[string]int)
	for _, entry := range entries {
		if waits(entry) {
			line[entry.JobName]++
		}
	}
	rows := make([][]string, 0, len(entries))
	shown := make(map[string]int)
	for _, entry := range entries {
		what := agendaText(entry)
		if waits(entry) {
			shown[entry.JobName]++
			more := line[entry.JobName] - agendaLineMax
			switch n := shown[entry.JobName]; {
			case n > agendaLineMax:
				continue
			case n == agendaLineMax && more > 0:
				what += fmt.Sprintf("; %d more after it", more)
			}
		}
		at, in := "-", "-"
		if entry.RunAt != nil {
			at = localTime(*entry.RunAt)
			if entry.RunID == nil || entry.RunAt.After(now) { // else it is up to the leader or a worker
				in = relative(entry.RunAt.Sub(now))
			}
		}
		rows = append(rows, []string{at, in, entry.JobName, what})
	}
	return rows
}

func waits(entry scheduler.AgendaEntry) bool { return entry.Status == jobs.StatusWaiting }

// agendaText says what an entry is.
func agendaText(entry scheduler.AgendaEntry) string {
	if entry.RunID == nil {
		if entry.Count > 1 {
			return fmt.Sprintf("%d times until %s", entry.Count, localTime(entry.Last))
		}
		return "tick"
	}
	text, pause := fmt.Sprintf("run %d", *entry.RunID), ""
	switch entry.Status {
	case jobs.StatusScheduled:
		pause = "the job is paused: skipped if it still is then"
	case jobs.StatusWaiting:
		text += ", in line"
		pause = "the job is paused: its line waits"
	case jobs.StatusRequested:
		text += ", the leader has yet to decide"
		pause = "the job is paused: skipped"
	case jobs.StatusPending:
		text += ", waits for a worker"
	case jobs.StatusRetrying:
		text += ", another attempt after one that failed"
	case jobs.StatusRunning, jobs.StatusSuccess, jobs.StatusFailed, jobs.StatusCancelled, jobs.StatusSkipped, jobs.StatusMissed, jobs.StatusBlocked:
		text += ", " + string(entry.Status) // the agenda has none
	}
	if entry.RequestedBy != nil {
		text += ", asked for by " + *entry.RequestedBy
	}
	if entry.Paused && pause != "" {
		text += "; " + pause
	}
	return text
}
