package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs"
)

const (
	// lookInterval is how often dev looks what became of the bootstrap jobs.
	lookInterval = 50 * time.Millisecond

	// refusalDelay is after what time under a leader a job without a run will have
	// none.
	refusalDelay = 3 * time.Second
)

func newestRun(ctx context.Context, client *scheduler.Client) (int64, error) {
	runs, err := client.Runs(ctx, scheduler.RunFilter{Limit: 1})
	if err != nil || len(runs) == 0 {
		return 0, err
	}
	return runs[0].ID, nil
}

// reportBootstrap shows what the bootstrap jobs do, in runs newer than the given
// one.
func (d *development) reportBootstrap(ctx context.Context, client *scheduler.Client, names []string, newest int64) error {
	waiting := slices.Clone(names)
	var ledSince time.Time
	for len(waiting) > 0 {
		runs, err := client.Runs(ctx, scheduler.RunFilter{})
		if err != nil {
			return err
		}
		for _, run := range runs {
			i := slices.Index(waiting, run.JobName)
			if i < 0 || run.ID <= newest || run.Trigger != jobs.TriggerBootstrap || !run.Status.Ended() {
				continue
			}
			waiting = slices.Delete(waiting, i, i+1)
			if err := d.reportRun(run); err != nil {
				return err
			}
		}
		if waiting, err = d.reportRefused(ctx, client, waiting, &ledSince); err != nil {
			return err
		}
		if err := waitBriefly(ctx, lookInterval); err != nil {
			return err
		}
	}
	return nil
}

func (d *development) reportRun(run scheduler.Run) error {
	rows, err := targetRows(run)
	if err != nil {
		return err
	}
	var text strings.Builder
	text.WriteString(runText(run) + "\n")
	if err := failure(run); err != nil {
		text.WriteString("  " + message(err) + "\n")
	}
	writeTable(&text, nil, rows)
	d.out.printf("%s", strings.TrimRight(text.String(), "\n"))
	return nil
}

// reportRefused shows the jobs that a leader does not run, and returns the others.
func (d *development) reportRefused(ctx context.Context, client *scheduler.Client, waiting []string, ledSince *time.Time) ([]string, error) {
	leader, err := client.Leader(ctx)
	switch {
	case err != nil:
		return waiting, err
	case leader == nil:
		*ledSince = time.Time{}
		return waiting, nil
	case ledSince.IsZero():
		*ledSince = time.Now()
	}
	if time.Since(*ledSince) < refusalDelay {
		return waiting, nil
	}
	list, err := client.Jobs(ctx)
	if err != nil {
		return waiting, err
	}
	for _, job := range list {
		if i := slices.Index(waiting, job.JobName); i >= 0 && job.State != "active" {
			waiting = slices.Delete(waiting, i, i+1)
			d.out.printf("%s is %s and was not run", job.JobName, job.State)
		}
	}
	return waiting, nil
}

// tryNext shows three commands.
func (d *development) tryNext(ctx context.Context, client *scheduler.Client, f *fleet) error {
	commands := []string{
		d.command("jobs"),
		d.command("run", "cleanup_empty_contexts", "--param", "retention_hours=1", "--dry-run", "--wait"),
		d.command("runs"),
	}
	leads := ""
	if d.replicas > 1 {
		r, err := leading(ctx, client, f)
		if err != nil {
			return err
		}
		leads = r.name + " leads. Kill it, and another takes over.\n"
		commands = []string{d.command("replicas"), fmt.Sprintf("kill -9 %d", r.pid), d.command("leader")}
	}
	where := "in this folder"
	if d.database == nil {
		where = "with the same environment"
	}
	d.out.printf("\n%sTry next, in another terminal %s:\n\n  %s\n\nCtrl-C here ends it all.", leads, where, strings.Join(commands, "\n  "))
	return nil
}

// leading waits until a replica of the fleet leads.
func leading(ctx context.Context, client *scheduler.Client, f *fleet) (*replica, error) {
	for {
		leader, err := client.Leader(ctx)
		if err != nil {
			return nil, err
		}
		if leader != nil {
			if i := slices.IndexFunc(f.replicas, func(r *replica) bool { return r.id == leader.ReplicaID }); i >= 0 {
				return f.replicas[i], nil
			}
		}
		if err := waitBriefly(ctx, lookInterval); err != nil {
			return nil, err
		}
	}
}

// command is a command line that leads to the same database and schema when it is
// copied.
func (d *development) command(args ...string) string {
	words := []string{shellQuote(d.program)}
	for _, arg := range args {
		words = append(words, shellQuote(arg))
	}
	file := d.flags.path != ""
	if file {
		words = append(words, "--config", shellQuote(d.flags.path))
	}
	switch origin := d.settings.Origin("database_url"); {
	case d.database != nil && (file || d.hasLibpqVariables()):
		words = append(words, "--database-url", `"$(cat `+devFolder+`/url)"`)
	case origin.Flag != "":
		words = append(words, "--database-url", shellQuote(d.settings.Scheduler.DatabaseURL))
	}
	if origin := d.settings.Origin("schema"); origin.Flag != "" {
		words = append(words, "--schema", shellQuote(d.settings.Scheduler.Schema))
	}
	return strings.Join(words, " ")
}

// shellQuote puts a word between quotes if a shell would take it for anything else.
func shellQuote(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./=:,@%+", r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
