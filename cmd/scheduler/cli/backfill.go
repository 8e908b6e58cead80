package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/systempromptio/scheduler"
)

const (
	// decisionWait is how long backfill waits for the leader's decision.
	decisionWait = 10 * time.Second

	backfillLimitMax = 10_000
)

// backfillOptions are the flags of the command backfill.
type backfillOptions struct {
	from, to    string
	toSet       bool
	limit       int
	limitSet    bool
	again, wait bool
	dryRun      *bool
	params      []string
}

// check refuses what is wrong whatever the job's time zone is.
func (o backfillOptions) check() error {
	if o.from == "" {
		return errors.New("a backfill needs the time of its oldest tick: --from 2026-03-29")
	}
	if err := checkTime("from", o.from); err != nil {
		return err
	}
	if o.toSet {
		if err := checkTime("to", o.to); err != nil {
			return err
		}
		if !inOrder(o.from, o.to) {
			return fmt.Errorf("--from %q is later than --to %q; give the earlier one first", o.from, o.to)
		}
	}
	if o.limitSet && (o.limit < 1 || o.limit > backfillLimitMax) {
		return fmt.Errorf("--limit is %d, must be between 1 and %d", o.limit, backfillLimitMax)
	}
	return nil
}

func (a *app) backfillCommand() *cobra.Command {
	var options backfillOptions
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "backfill NAME --from TIME",
		Short: "Run a job for past ticks of its schedule",
		Long: `Asks for the runs of the ticks that a job's schedule has between two past times, both
included: oldest first and one after the other, or all at once if the job's overlap
is allow. Ticks that have succeeded are left out, unless --again is given.

Times are RFC 3339, or a date, or a date and a time of day in the job's time zone. A
date is its first instant: --to 2026-03-29 does not include the ticks of that day.

The leader decides about it within milliseconds; how many runs there are is shown
then, or, with exit code 2, why it refuses. The exit code is 0, too, if there is nothing
to run, since the schedule has no tick between these times or all of them are left out,
and if nobody leads: then the backfill waits for a leader. With --wait, the progress is
shown on standard error until the last run has ended; the exit code is 1 if any of them
failed, was cancelled or skipped.

At most 100,000 ticks are looked at, before --limit counts: times between which the
schedule has more of them are refused, whatever the limit.

"scheduler backfills" shows how far it is, "scheduler cancel --backfill" takes back
what has not begun.`,
		Example: `  scheduler backfill database_cleanup --from 2026-03-01 --to 2026-03-29
  scheduler backfill database_cleanup --from 2026-03-29T14:30:00Z --limit 10 --dry-run --wait
  scheduler backfill cleanup_empty_contexts --from 2026-03-01 --again --param retention_hours=48 --json`,
		Args:              oneArg("a job's name"),
		ValidArgsFunction: a.completeJob,
		RunE: func(cmd *cobra.Command, args []string) error {
			options.toSet, options.limitSet = cmd.Flags().Changed("to"), cmd.Flags().Changed("limit")
			if cmd.Flags().Changed("dry-run") {
				options.dryRun = &dryRun
			}
			if err := options.check(); err != nil {
				return &usageError{command: cmd, err: err}
			}
			return a.withClient(cmd.Context(), func(client *scheduler.Client) error {
				id, err := a.requestBackfill(cmd.Context(), client, args[0], options)
				if err != nil {
					return err
				}
				return a.reportBackfill(cmd.Context(), client, id, options.wait)
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&options.from, "from", "", "`time` of the oldest tick (required)")
	flags.StringVar(&options.to, "to", "", "`time` of the newest tick (default now)")
	flags.IntVar(&options.limit, "limit", 0, fmt.Sprintf("run only so many of them, the oldest, 1 to %d; at most 100,000 may lie between the two times (default all)", backfillLimitMax))
	flags.BoolVar(&options.again, "again", false, "run ticks, too, that have succeeded")
	flags.StringArrayVar(&options.params, "param", nil, strings.Replace(paramUsage, "the run", "the runs", 1))
	flags.BoolVar(&dryRun, "dry-run", false, "report what the runs would do and change nothing (default as the job is configured)")
	flags.BoolVar(&options.wait, "wait", false, "wait for the end of all runs and show the progress")
	_ = cmd.RegisterFlagCompletionFunc("from", cobra.NoFileCompletions) // it exists
	_ = cmd.RegisterFlagCompletionFunc("to", cobra.NoFileCompletions)   // it exists
	_ = cmd.RegisterFlagCompletionFunc("param", a.completeParameters)   // it exists
	a.addJSON(cmd)
	return cmd
}

// requestBackfill asks for a backfill and returns its id.
func (a *app) requestBackfill(ctx context.Context, client *scheduler.Client, name string, options backfillOptions) (int64, error) {
	job, now, err := a.jobAndClock(ctx, client, name)
	if err != nil {
		return 0, err
	}
	pause, err := pauseText(ctx, client, job, now)
	switch {
	case err != nil:
		return 0, err
	case pause != "":
		return 0, refused("%s", pause)
	}
	request := scheduler.BackfillRequest{JobName: name, To: now, Limit: options.limit, Again: options.again, DryRun: options.dryRun}
	if request.Parameters, err = parseParameters(job, options.params); err != nil {
		return 0, err
	}
	location, err := locationOf(job)
	if err != nil {
		return 0, err
	}
	if request.From, err = parseTime(options.from, location); err != nil {
		return 0, refused("--from: %w", err)
	}
	if options.toSet {
		if request.To, err = parseTime(options.to, location); err != nil {
			return 0, refused("--to: %w", err)
		}
	}
	return client.RequestBackfill(ctx, request)
}

// reportBackfill waits until the leader has decided a backfill, and, if it is told to,
// until its last run has ended, and shows what became of it.
func (a *app) reportBackfill(ctx context.Context, client *scheduler.Client, id int64, wait bool) error {
	backfill, err := a.awaitBackfill(ctx, client, id, wait)
	if err != nil {
		return fmt.Errorf("backfill %d goes on, but is not waited for any more: %w", id, a.explain(ctx, err))
	}
	if a.json {
		if err := a.writeJSON(backfill); err != nil {
			return err
		}
	}
	switch {
	case backfill.Error == nil:
	case backfill.Status == "refused":
		return refused("backfill %d: %s", id, *backfill.Error)
	case backfill.Runs == 0:
		return fmt.Errorf("backfill %d: %s", id, *backfill.Error)
	}
	if !a.json {
		a.writeBackfill(backfill)
	}
	if wait {
		return backfillFailure(backfill)
	}
	return nil
}

// awaitBackfill waits for the leader's decision, and, if it is told to, for the end.
func (a *app) awaitBackfill(ctx context.Context, client *scheduler.Client, id int64, wait bool) (backfill scheduler.Backfill, err error) {
	decided := func() (bool, error) {
		backfill, err = client.Backfill(ctx, id)
		return backfill.DecidedAt != nil, err
	}
	if done, err := decided(); err != nil || done && !wait {
		return backfill, err
	}
	nobody, err := a.saysNobodyLeads(ctx, client, "backfill %d waits", id)
	switch {
	case err != nil, nobody && !wait:
		return backfill, err
	case !wait:
		_, err = poll(ctx, decisionWait, decided)
		return backfill, err
	}
	progress := newProgress(a.stderr, isTerminal(a.stderr))
	defer progress.end()
	_, err = poll(ctx, 0, func() (bool, error) {
		if done, err := decided(); !done || err != nil {
			return false, err
		}
		if backfill.Error != nil || backfill.Waiting+backfill.Working == 0 {
			return true, nil
		}
		progress.showText(backfillProgress(backfill))
		return false, nil
	})
	return backfill, err
}

// backfillProgress says in a line how far a backfill is.
func backfillProgress(b scheduler.Backfill) string {
	text := fmt.Sprintf("backfill %d of %s: %d of %s ended", b.ID, b.JobName, b.Runs-b.Waiting-b.Working, plural(b.Runs, "run"))
	if b.Working > 0 {
		text += fmt.Sprintf(", %d being worked", b.Working)
	}
	if ends := unsuccessful(b); ends != "" {
		text += ", " + ends
	}
	return text
}

// unsuccessful counts the runs that did not succeed; nothing if there are none.
func unsuccessful(b scheduler.Backfill) string {
	var parts []string
	for _, part := range []struct {
		count int64
		name  string
	}{{b.Failed, "failed"}, {b.Blocked, "blocked"}, {b.Cancelled, "cancelled"}, {b.Skipped, "skipped"}} {
		if part.count > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", part.count, part.name))
		}
	}
	return strings.Join(parts, ", ")
}

// backfillFailure is the error of a backfill whose runs did not all succeed.
func backfillFailure(b scheduler.Backfill) error {
	ends := unsuccessful(b)
	if ends == "" {
		return nil
	}
	return fmt.Errorf("backfill %d of %s: of %s, %s; see why with: scheduler runs --backfill %d", b.ID, b.JobName, plural(b.Runs, "run"), ends, b.ID)
}

// writeBackfill says what the leader has decided, and how the runs went.
func (a *app) writeBackfill(b scheduler.Backfill) {
	title := fmt.Sprintf("backfill %d of %s, from %s to %s", b.ID, b.JobName, localTime(b.FromTick), localTime(b.ToTick))
	if b.DryRun {
		title += ", dry run"
	}
	goesOn := fmt.Sprintf("See how far it is with: scheduler backfills %d\n", b.ID)
	if b.Error == nil {
		goesOn += fmt.Sprintf("Take back what has not begun with: scheduler cancel --backfill %d\n", b.ID)
	}
	if b.DecidedAt == nil {
		fmt.Fprintf(a.stdout, "%s: requested, the leader has not decided yet\n%s", title, goesOn)
		return
	}
	ended := b.Waiting+b.Working == 0
	text := fmt.Sprintf("%s: %s", title, plural(b.Runs, "run"))
	if ends := endsText(b); ended && ends != "" {
		text += ", " + ends
	}
	fmt.Fprintln(a.stdout, text)
	if b.Error != nil {
		fmt.Fprintf(a.stdout, "It was %s\n", *b.Error)
	}
	if n := valueOf(b.LeftOut); n > 0 {
		why := "left out, since they have succeeded or are about to be run; --again includes those that have succeeded"
		if b.Again {
			why = "left out, since they are about to be run anyway"
		}
		fmt.Fprintf(a.stdout, "%s %s\n", plural(n, "tick"), why)
	}
	if n := valueOf(b.Remaining); n > 0 {
		fmt.Fprintf(a.stdout, "%s beyond the limit; ask for them in another backfill\n", plural(n, "tick"))
	}
	if b.Runs == 0 && valueOf(b.LeftOut) == 0 {
		fmt.Fprintln(a.stdout, "The schedule has no tick between these times.")
	}
	if !ended {
		fmt.Fprint(a.stdout, goesOn)
	}
}

// endsText counts how runs have ended.
func endsText(b scheduler.Backfill) string {
	ends := unsuccessful(b)
	switch {
	case b.Success == 0:
		return ends
	case ends == "":
		return fmt.Sprintf("%d succeeded", b.Success)
	}
	return fmt.Sprintf("%d succeeded, %s", b.Success, ends)
}

func valueOf(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}
