package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs/cron"
)

// analyticsOptions are the flags of the commands below analytics.
type analyticsOptions struct {
	from, to, timeZone string
	limit              int
}

// period reads the times in the time zone.
func (o analyticsOptions) period() (period scheduler.Period, err error) {
	location, err := cron.LoadLocation(o.timeZone)
	if err != nil {
		return period, refused("--timezone: %w", err)
	}
	if o.from != "" {
		if period.From, err = parseTime(o.from, location); err != nil {
			return period, refused("--from: %w", err)
		}
	}
	if o.to != "" {
		if period.To, err = parseTime(o.to, location); err != nil {
			return period, refused("--to: %w", err)
		}
	}
	return period, nil
}

func (a *app) analyticsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "analytics {categories|low|issues|goals|evaluations|distribution}",
		Short: "Show how the platform's conversations were evaluated",
		Long: `Shows what the platform's table conversation_evaluations tells, which older installs
have. It is read as the search_path of the connection finds it; a database without it
is refused with exit code 2.

A score or a confidence is a number from 0 to 1. One that is missing, or anything else,
counts as none, and the conversation counts nevertheless.

--from and --to bound the time of the evaluation: the first is included, the second is
not. Times are RFC 3339, or a date, or a date and a time of day in the time zone of
--timezone. A date is its first instant: --from 2026-03-01 --to 2026-04-01 is March.`,
		Example: `  scheduler analytics categories --from 2026-03-01 --to 2026-04-01 --timezone Europe/Berlin
  scheduler analytics low --below 0.5
  scheduler analytics distribution --json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return &usageError{command: cmd, err: errors.New("say what to show: analytics categories, low, issues, goals, evaluations or distribution")}
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }, // Args refuses before
	}
	cmd.AddCommand(a.categoriesCommand(), a.lowCommand(), a.issuesCommand(), a.goalsCommand(), a.evaluationsCommand(), a.distributionCommand())
	return cmd
}

// analyze makes a command below analytics. A limit of zero: it has none. show reads, and
// writes a table, or returns what to write as JSON.
func (a *app) analyze(cmd *cobra.Command, limit int, show func(ctx context.Context, analytics scheduler.Analytics, period scheduler.Period, options analyticsOptions) (any, func(), error)) *cobra.Command {
	var options analyticsOptions
	cmd.Args, cmd.ValidArgsFunction = noArgs, cobra.NoFileCompletions
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if limit > 0 && (options.limit < 1 || options.limit > scheduler.AnalyticsLimitMax) {
			return &usageError{command: cmd, err: fmt.Errorf("--limit is %d, must be between 1 and %d", options.limit, scheduler.AnalyticsLimitMax)}
		}
		period, err := options.period()
		if err != nil {
			return err
		}
		return a.withClient(cmd.Context(), func(client *scheduler.Client) error {
			value, write, err := show(cmd.Context(), client.Repository().Analytics, period, options)
			if err != nil {
				return err
			}
			if a.json {
				return a.writeJSON(value)
			}
			write()
			return nil
		})
	}
	flags := cmd.Flags()
	flags.StringVar(&options.from, "from", "", "only evaluations since this `time` (default the first)")
	flags.StringVar(&options.to, "to", "", "only evaluations before this `time` (default the last)")
	flags.StringVar(&options.timeZone, "timezone", "UTC", "IANA name of the time zone of days and dates")
	if limit > 0 {
		flags.IntVar(&options.limit, "limit", limit, fmt.Sprintf("at most so many, 1 to %d", scheduler.AnalyticsLimitMax))
	}
	_ = cmd.RegisterFlagCompletionFunc("from", cobra.NoFileCompletions)                                                              // it exists
	_ = cmd.RegisterFlagCompletionFunc("to", cobra.NoFileCompletions)                                                                // it exists
	_ = cmd.RegisterFlagCompletionFunc("timezone", cobra.FixedCompletions(cron.LocationNames(), cobra.ShellCompDirectiveNoFileComp)) // it exists
	a.addJSON(cmd)
	return cmd
}

// writeAnalysis writes a table, or that there is nothing.
func (a *app) writeAnalysis(headings []string, rows [][]string) {
	if len(rows) == 0 {
		fmt.Fprintln(a.stdout, "There are no such evaluations.")
		return
	}
	writeTable(a.stdout, headings, rows)
}

func (a *app) categoriesCommand() *cobra.Command {
	return a.analyze(&cobra.Command{
		Use:     "categories",
		Short:   "Count the conversations of each category and day, with their scores",
		Long:    `Counts the conversations of each category and day, newest day first, with their average, lowest and highest score. Days without any are left out.`,
		Example: `  scheduler analytics categories --from 2026-03-01 --timezone Europe/Berlin`,
	}, 1000, func(ctx context.Context, analytics scheduler.Analytics, period scheduler.Period, options analyticsOptions) (any, func(), error) {
		list, err := analytics.Categories(ctx, scheduler.CategoriesQuery{Period: period, TimeZone: options.timeZone, Limit: options.limit})
		return listJSON(list), func() {
			rows := make([][]string, 0, len(list))
			for _, c := range list {
				rows = append(rows, []string{c.Day, cell(c.Category), fmt.Sprint(c.Conversations), fmt.Sprint(c.Scored), score(c.AverageScore), score(c.LowestScore), score(c.HighestScore)})
			}
			a.writeAnalysis([]string{"DAY", "CATEGORY", "CONVERSATIONS", "SCORED", "AVERAGE", "LOWEST", "HIGHEST"}, rows)
		}, err
	})
}

func (a *app) lowCommand() *cobra.Command {
	var below float64
	cmd := a.analyze(&cobra.Command{
		Use:     "low",
		Short:   "List the conversations below a score, lowest first",
		Long:    `Lists the conversations below a score, lowest first, and of the same score the newest first.`,
		Example: `  scheduler analytics low --below 0.3 --limit 10 --json | jq -r '.[].context_id'`,
	}, runsLimitDefault, func(ctx context.Context, analytics scheduler.Analytics, period scheduler.Period, options analyticsOptions) (any, func(), error) {
		list, err := analytics.LowScores(ctx, scheduler.LowScoresQuery{Period: period, Below: below, Limit: options.limit})
		return listJSON(list), func() { a.writeEvaluations(list) }, err
	})
	cmd.Flags().Float64Var(&below, "below", 0.5, "the score that is not reached, more than 0 and at most 1")
	_ = cmd.RegisterFlagCompletionFunc("below", cobra.NoFileCompletions) // it exists
	return cmd
}

func (a *app) issuesCommand() *cobra.Command {
	return a.analyze(&cobra.Command{
		Use:     "issues",
		Short:   "List the issues that most conversations had",
		Long:    `Lists the issues that most conversations had. An issue is the whole text that an evaluation has for it.`,
		Example: `  scheduler analytics issues --from 2026-03-01`,
	}, 20, func(ctx context.Context, analytics scheduler.Analytics, period scheduler.Period, options analyticsOptions) (any, func(), error) {
		list, err := analytics.Issues(ctx, scheduler.IssuesQuery{Period: period, Limit: options.limit})
		return listJSON(list), func() {
			rows := make([][]string, 0, len(list))
			for _, issue := range list {
				rows = append(rows, []string{fmt.Sprint(issue.Conversations), score(issue.AverageScore), localTime(issue.LastAt), cell(issue.Issue)})
			}
			a.writeAnalysis([]string{"CONVERSATIONS", "AVERAGE", "LAST", "ISSUE"}, rows)
		}, err
	})
}

func (a *app) goalsCommand() *cobra.Command {
	return a.analyze(&cobra.Command{
		Use:   "goals",
		Short: "Count how many conversations have achieved their goal, by how sure that is",
		Long: `Counts how many conversations have achieved their goal, have not, or in part, and how
sure that is: a confidence of 0.8 or more is high, one of 0.5 or more medium.`,
		Example: `  scheduler analytics goals`,
	}, 0, func(ctx context.Context, analytics scheduler.Analytics, period scheduler.Period, _ analyticsOptions) (any, func(), error) {
		list, err := analytics.Goals(ctx, period)
		return listJSON(list), func() {
			rows := make([][]string, 0, len(list))
			for _, goal := range list {
				rows = append(rows, []string{
					cell(goal.GoalAchieved), fmt.Sprint(goal.Conversations), score(goal.AverageConfidence),
					fmt.Sprint(goal.High), fmt.Sprint(goal.Medium), fmt.Sprint(goal.Low), fmt.Sprint(goal.Unknown),
				})
			}
			a.writeAnalysis([]string{"GOAL ACHIEVED", "CONVERSATIONS", "CONFIDENCE", "HIGH", "MEDIUM", "LOW", "UNKNOWN"}, rows)
		}, err
	})
}

func (a *app) evaluationsCommand() *cobra.Command {
	var category, after string
	cmd := a.analyze(&cobra.Command{
		Use:   "evaluations",
		Short: "List evaluations, newest first",
		Long: `Lists evaluations, newest first. What a page has ended with, which standard error says,
is where the next one begins: --after. However far down, a page costs the same.`,
		Example: `  scheduler analytics evaluations --category support --limit 100
  scheduler analytics evaluations --after 2026-03-29T14:30:00Z,4711`,
	}, runsLimitDefault, func(ctx context.Context, analytics scheduler.Analytics, period scheduler.Period, options analyticsOptions) (any, func(), error) {
		place, err := scheduler.ParseEvaluationPlace(after)
		if err != nil {
			return nil, nil, fmt.Errorf("--after: %w", err)
		}
		list, err := analytics.Evaluations(ctx, scheduler.EvaluationsQuery{Period: period, Category: category, After: place, Limit: options.limit})
		if err == nil && len(list) == options.limit {
			fmt.Fprintf(a.stderr, "scheduler: there may be more: --after %s\n", scheduler.PlaceOf(list[len(list)-1]))
		}
		return listJSON(list), func() { a.writeEvaluations(list) }, err
	})
	cmd.Flags().StringVar(&category, "category", "", "only those of this category")
	cmd.Flags().StringVar(&after, "after", "", "the `place` that the page before has ended with (default the first page)")
	_ = cmd.RegisterFlagCompletionFunc("category", cobra.NoFileCompletions) // it exists
	_ = cmd.RegisterFlagCompletionFunc("after", cobra.NoFileCompletions)    // it exists
	return cmd
}

func (a *app) writeEvaluations(list []scheduler.Evaluation) {
	rows := make([][]string, 0, len(list))
	for _, e := range list {
		took := "-"
		if e.DurationSeconds != nil {
			took = durationText(time.Duration(*e.DurationSeconds) * time.Second)
		}
		issues := ""
		if e.Issues != nil {
			issues = *e.Issues
		}
		rows = append(rows, []string{
			localTime(e.AnalyzedAt), cell(e.ContextID), cell(e.Category), score(e.Score), cell(e.GoalAchieved), score(e.Confidence),
			orDash(e.Turns), took, cell(e.CompletionStatus), cell(issues),
		})
	}
	a.writeAnalysis([]string{"ANALYZED", "CONTEXT", "CATEGORY", "SCORE", "GOAL", "CONFIDENCE", "TURNS", "TOOK", "STATUS", "ISSUES"}, rows)
}

func (a *app) distributionCommand() *cobra.Command {
	return a.analyze(&cobra.Command{
		Use:     "distribution",
		Short:   "Count the conversations by their scores",
		Long:    `Counts the conversations by their scores: excellent is 0.9 or more, good 0.7 or more, fair 0.5 or more, and poor the rest.`,
		Example: `  scheduler analytics distribution --from 2026-01-01 --json`,
	}, 0, func(ctx context.Context, analytics scheduler.Analytics, period scheduler.Period, _ analyticsOptions) (any, func(), error) {
		d, err := analytics.Distribution(ctx, period)
		return d, func() {
			var rows [][]string
			all := d.Excellent + d.Good + d.Fair + d.Poor + d.Unscored
			for _, band := range []struct {
				name string
				n    int64
			}{{"excellent", d.Excellent}, {"good", d.Good}, {"fair", d.Fair}, {"poor", d.Poor}, {"unscored", d.Unscored}} {
				rows = append(rows, []string{band.name, fmt.Sprint(band.n), fmt.Sprintf("%.1f %%", 100*float64(band.n)/float64(max(all, 1)))})
			}
			writeTable(a.stdout, []string{"SCORE", "CONVERSATIONS", "SHARE"}, rows)
		}, err
	})
}

// cellLength is how much of the application's text a table shows.
const cellLength = 60

// cell is a text of the application in a table: one line without control characters,
// which a terminal would obey.
func cell(text string) string {
	if text = strings.TrimSpace(text); text == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '·'
		}
		return r
	}, firstLine(text, cellLength))
}

// score is a score or a confidence in a table.
func score(value *float64) string {
	if value == nil {
		return "-"
	}
	return fmt.Sprintf("%.3f", *value)
}
