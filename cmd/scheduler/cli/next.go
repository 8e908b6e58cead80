package cli

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/systempromptio/scheduler/jobs/cron"
)

const (
	nextCountDefault = 5
	nextCountMax     = 10_000
)

// nextOptions are the flags of the command next.
type nextOptions struct {
	timeZone, from, job string
	count               int
}

func (a *app) nextCommand() *cobra.Command {
	var options nextOptions
	cmd := &cobra.Command{
		Use:   "next EXPRESSION",
		Short: "Show when a cron expression is due, without a database",
		Long: `Shows the next ticks of a cron expression, as a replica would compute them. It reads
no configuration and needs no database.

The expression has five fields (minute hour day-of-month month day-of-week) or six
with seconds first, or is a name such as @daily, or @every with an interval. Put it
in quotes: the shell would replace each * by the names of files.

The first tick is the first one strictly after --from: a tick at that very time is
not shown. --from is RFC 3339, or a date or a date and a time of day in the zone of
--timezone; the column AFTER counts from it, the column IN from now. A remark says that
the clock was set within the day before a tick. H and ~ in an expression choose a value
by the job's name, --job.`,
		Example: `  scheduler next '30 2 * * *' --timezone Europe/Berlin --from 2026-03-28
  scheduler next '@every 90s' --count 20
  scheduler next 'H 3 * * mon-fri' --job database_cleanup --json | jq -r '.[0]'`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &usageError{command: cmd, err: fmt.Errorf("%q needs a cron expression in quotes, such as '0 3 * * *'", cmd.CommandPath())}
			}
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.next(cmd, args, options)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&options.timeZone, "timezone", "UTC", "IANA name of the time zone in which the expression is read")
	flags.StringVar(&options.from, "from", "", "show ticks strictly after this time (default now)")
	flags.IntVar(&options.count, "count", nextCountDefault, fmt.Sprintf("so many ticks, 1 to %d", nextCountMax))
	flags.StringVar(&options.job, "job", "", "name of the job, by which H and ~ choose")
	flags.BoolVar(&a.json, "json", false, "write the ticks as a JSON array of RFC 3339 times")
	_ = cmd.RegisterFlagCompletionFunc("timezone", cobra.FixedCompletions(cron.LocationNames(), cobra.ShellCompDirectiveNoFileComp)) // it exists
	_ = cmd.RegisterFlagCompletionFunc("job", a.completeJobName)                                                                     // it exists
	return cmd
}

func (a *app) next(cmd *cobra.Command, args []string, options nextOptions) error {
	if options.count < 1 || options.count > nextCountMax {
		return &usageError{command: cmd, err: fmt.Errorf("--count is %d, must be between 1 and %d", options.count, nextCountMax)}
	}
	location, err := cron.LoadLocation(options.timeZone)
	if err != nil {
		return refused("--timezone: %w", err)
	}
	from := time.Now().In(location)
	if cmd.Flags().Changed("from") {
		if from, err = parseTime(options.from, location); err != nil {
			return refused("--from: %w", err)
		}
	}
	schedule, err := parseExpression(args, location, options.job)
	if err != nil {
		return err
	}

	ticks := make([]time.Time, 0, options.count)
	for at := schedule.Next(from); !at.IsZero() && len(ticks) < options.count; at = schedule.Next(at) {
		ticks = append(ticks, at)
	}
	if a.json {
		err = a.writeJSON(ticks)
	} else if len(ticks) > 0 {
		in := "IN"
		if cmd.Flags().Changed("from") {
			in = "AFTER"
		}
		a.writeTicks(ticks, from, in)
	}
	if missing := options.count - len(ticks); missing > 0 {
		fmt.Fprintf(a.stderr, "scheduler: %s only, not %d: ticks end with the year 2199\n", plural(int64(len(ticks)), "tick"), options.count)
	}
	return err
}

// parseExpression reads a cron expression, which may have come as several arguments.
func parseExpression(args []string, location *time.Location, job string) (*cron.Schedule, error) {
	text := strings.Join(args, " ")
	// What else is wrong with it is said first, whether or not the job is known.
	schedule, err := cron.Parse(text, cron.Options{Location: location, Name: cmp.Or(job, "any")})
	switch {
	case err != nil && len(args) > 1:
		return nil, refused("%w. It came as %d arguments: put it in quotes, or the shell replaces each * by the names of files", err, len(args))
	case err != nil:
		return nil, refused("%w", err)
	case job != "":
		return schedule, nil
	}
	schedule, err = cron.Parse(text, cron.Options{Location: location})
	if nameless, ok := errors.AsType[*cron.ParseError](err); ok {
		return nil, refused("cron text %q: %s: H and ~ choose a value by the job's name; give it with --job", text, nameless.Field)
	}
	return schedule, err
}

// writeTicks writes a table of ticks; in heads the column that counts from a time. A
// remark says where the clock was set within the day before a tick, and since the tick
// before.
func (a *app) writeTicks(ticks []time.Time, from time.Time, in string) {
	rows := make([][]string, 0, len(ticks))
	before, remarked := from, false
	for _, tick := range ticks {
		remark := ""
		since, _ := tick.ZoneBounds()
		switch change := offset(tick) - offset(before); {
		case tick.Sub(since) > day:
		case change > 0:
			remark = "the clock was set forward by " + durationText(change)
		case change < 0:
			remark = "the clock was set back by " + durationText(-change)
		}
		rows = append(rows, []string{localText(tick), tick.UTC().Format(time.DateTime), roughly(tick.Sub(from)), remark})
		before, remarked = tick, remarked || remark != ""
	}
	headings := []string{"LOCAL TIME", "UTC", in, "REMARK"}
	if !remarked {
		headings[3] = ""
	}
	writeTable(a.stdout, headings, rows)
}

// localText is a time with its weekday, its offset from UTC, and the zone's
// abbreviation if that is more than the offset again.
func localText(t time.Time) string {
	text := t.Format("Mon 2006-01-02 15:04:05 -07:00")
	if name, _ := t.Zone(); !strings.ContainsAny(name, "+-") {
		text += " " + name
	}
	return text
}
