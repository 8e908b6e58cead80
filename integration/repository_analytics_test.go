package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/integration/testdb"
	"github.com/systempromptio/scheduler/sql"
)

// evaluations is a database whose conversation_evaluations takes anything.
func evaluations(t *testing.T) (*testdb.DB, scheduler.Analytics) {
	t.Helper()
	db := testdb.New(t, platformTables)
	exec1(t, db, `ALTER TABLE conversation_evaluations
		DROP CONSTRAINT conversation_evaluations_overall_score_check, DROP CONSTRAINT conversation_evaluations_goal_achievement_confidence_check,
		DROP CONSTRAINT conversation_evaluations_goal_achieved_check, DROP CONSTRAINT conversation_evaluations_completion_status_check,
		ALTER goal_achieved DROP NOT NULL, ALTER goal_achievement_confidence DROP NOT NULL, ALTER primary_category DROP NOT NULL,
		ALTER overall_score DROP NOT NULL, ALTER evaluation_summary DROP NOT NULL, ALTER total_turns DROP NOT NULL,
		ALTER conversation_duration_seconds DROP NOT NULL, ALTER completion_status DROP NOT NULL, ALTER analyzed_at DROP NOT NULL`)
	return db, newRepository(t, db.Pool(t)).Analytics
}

// evaluate adds an evaluation. An empty text is null.
func evaluate(t *testing.T, db *testdb.DB, context, at, category, score, goal, confidence, issues string) {
	t.Helper()
	exec1(t, db, `INSERT INTO conversation_evaluations (context_id, analyzed_at, primary_category, overall_score, goal_achieved, goal_achievement_confidence,
			issues_encountered, evaluation_summary, total_turns, conversation_duration_seconds, completion_status)
		VALUES ($1, nullif($2, '')::timestamptz, nullif($3, ''), nullif($4, '')::real, nullif($5, ''), nullif($6, '')::real, nullif($7, ''), 's', 3, 60, 'completed')`,
		context, at, category, score, goal, confidence, issues)
}

func ref[T any](value T) *T { return &value }

func contextsOf(list []scheduler.Evaluation) []string {
	ids := make([]string, 0, len(list))
	for _, e := range list {
		ids = append(ids, e.ContextID)
	}
	return ids
}

// A day is one of the zone: an instant at which it is late in one place and early in
// another, and the hours that a change of the clock leaves out.
func TestAnalyticsCategories(t *testing.T) {
	t.Parallel()
	db, analytics := evaluations(t)
	evaluate(t, db, "a", "2026-03-28 23:30:00+00", "help", "0.9", "yes", "1", "")
	evaluate(t, db, "b", "2026-03-29 12:00:00+00", "help", "0.1", "yes", "1", "")
	evaluate(t, db, "c", "2026-03-29 13:00:00+00", "help", "NaN", "yes", "1", "")
	evaluate(t, db, "d", "2026-03-29 14:00:00+00", "help", "", "yes", "1", "")
	evaluate(t, db, "e", "2026-03-29 22:30:00+00", "café ☕", "1.5", "yes", "1", "")
	evaluate(t, db, "f", "2026-03-29 14:00:00+00", "", "0.25", "yes", "1", "")
	evaluate(t, db, "g", "", "help", "0.5", "yes", "1", "")
	evaluate(t, db, "h", "infinity", "help", "0.5", "yes", "1", "")
	march := scheduler.Period{From: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), To: time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)}

	list, err := analytics.Categories(t.Context(), scheduler.CategoriesQuery{Period: march})
	require.NoError(t, err)
	require.Equal(t, []scheduler.CategoryDay{
		{Day: "2026-03-29", Conversations: 1, Scored: 1, AverageScore: ref(0.25), LowestScore: ref(0.25), HighestScore: ref(0.25)},
		{Category: "café ☕", Day: "2026-03-29", Conversations: 1},
		{Category: "help", Day: "2026-03-29", Conversations: 3, Scored: 1, AverageScore: ref(0.1), LowestScore: ref(0.1), HighestScore: ref(0.1)},
		{Category: "help", Day: "2026-03-28", Conversations: 1, Scored: 1, AverageScore: ref(0.9), LowestScore: ref(0.9), HighestScore: ref(0.9)},
	}, list)
	_, err = json.Marshal(list)
	require.NoError(t, err)

	list, err = analytics.Categories(t.Context(), scheduler.CategoriesQuery{Period: march, TimeZone: "Europe/Berlin"})
	require.NoError(t, err)
	require.Equal(t, []scheduler.CategoryDay{
		{Category: "café ☕", Day: "2026-03-30", Conversations: 1},
		{Day: "2026-03-29", Conversations: 1, Scored: 1, AverageScore: ref(0.25), LowestScore: ref(0.25), HighestScore: ref(0.25)},
		{Category: "help", Day: "2026-03-29", Conversations: 4, Scored: 2, AverageScore: ref(0.5), LowestScore: ref(0.1), HighestScore: ref(0.9)},
	}, list)

	list, err = analytics.Categories(t.Context(), scheduler.CategoriesQuery{Limit: 1})
	require.NoError(t, err)
	require.Len(t, list, 1)
	for _, zone := range []string{"Local", "Nowhere/Else", "UTC+3", "'; --"} {
		_, err := analytics.Categories(t.Context(), scheduler.CategoriesQuery{TimeZone: zone})
		require.ErrorIs(t, err, scheduler.ErrBadArgument, zone)
	}
}

// 0.9 as the column has it is less than 0.9 as anything wider.
func TestAnalyticsScoresAtTheirBounds(t *testing.T) {
	t.Parallel()
	db, analytics := evaluations(t)
	for i, score := range []string{"0", "0.4999999", "0.5", "0.6999999", "0.7", "0.8999999", "0.9", "1", "NaN", "", "-0.1", "1.1", "Infinity", "-Infinity"} {
		evaluate(t, db, score+"/"+string(rune('a'+i)), "2026-01-01", "x", score, "yes", "1", "")
	}
	distribution, err := analytics.Distribution(t.Context(), scheduler.Period{})
	require.NoError(t, err)
	require.Equal(t, scheduler.ScoreDistribution{Excellent: 2, Good: 2, Fair: 2, Poor: 2, Unscored: 6}, distribution)

	low, err := analytics.LowScores(t.Context(), scheduler.LowScoresQuery{Below: 0.7})
	require.NoError(t, err)
	require.Equal(t, []string{"0/a", "0.4999999/b", "0.5/c", "0.6999999/d"}, contextsOf(low))
	require.InDelta(t, 0.5, *low[2].Score, 0)
	low, err = analytics.LowScores(t.Context(), scheduler.LowScoresQuery{Below: 1, Limit: 1})
	require.NoError(t, err)
	require.Equal(t, []string{"0/a"}, contextsOf(low))
	for _, below := range []float64{0, -1, 1.1, math.NaN(), math.Inf(1)} {
		_, err := analytics.LowScores(t.Context(), scheduler.LowScoresQuery{Below: below})
		require.ErrorIs(t, err, scheduler.ErrBadArgument, below)
	}

	all, err := analytics.Evaluations(t.Context(), scheduler.EvaluationsQuery{})
	require.NoError(t, err)
	_, err = json.Marshal(all)
	require.NoError(t, err)
}

func TestAnalyticsIssuesAndGoals(t *testing.T) {
	t.Parallel()
	db, analytics := evaluations(t)
	for i, issues := range []string{"slow", " slow\n", "slow", "wrong answer", "", "   ", "\t\n"} {
		evaluate(t, db, "c"+string(rune('a'+i)), "2026-01-01", "x", "0.5", []string{"yes", "no", "partial"}[i%3], []string{"0.8", "0.5", "0.49", "NaN"}[i%4], issues)
	}
	evaluate(t, db, "none", "2026-01-01", "x", "", "", "", "")
	for n := range 30 {
		evaluate(t, db, "many"+string(rune('a'+n)), "2025-01-01", "x", "0.5", "maybe", "2", "rare "+string(rune('a'+n)))
	}

	issues, err := analytics.Issues(t.Context(), scheduler.IssuesQuery{})
	require.NoError(t, err)
	require.Len(t, issues, 20)
	require.Equal(t, "slow", issues[0].Issue)
	require.EqualValues(t, 3, issues[0].Conversations)
	require.InDelta(t, 0.5, *issues[0].AverageScore, 0)
	require.Equal(t, "wrong answer", issues[1].Issue)
	issues, err = analytics.Issues(t.Context(), scheduler.IssuesQuery{Period: scheduler.Period{From: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}, Limit: 5})
	require.NoError(t, err)
	require.Len(t, issues, 2)

	goals, err := analytics.Goals(t.Context(), scheduler.Period{From: time.Date(2025, 6, 1, 0, 0, 0, 0, time.UTC)})
	require.NoError(t, err)
	require.Equal(t, []scheduler.GoalAchievement{
		{GoalAchieved: "yes", Conversations: 3, AverageConfidence: ref(0.645), High: 1, Medium: 0, Low: 1, Unknown: 1},
		{GoalAchieved: "partial", Conversations: 2, AverageConfidence: ref(0.495), High: 0, Medium: 1, Low: 1},
		{GoalAchieved: "no", Conversations: 2, AverageConfidence: ref(0.65), High: 1, Medium: 1},
		{GoalAchieved: "", Conversations: 1, Unknown: 1},
	}, goals)
}

func TestAnalyticsEvaluationsArePaged(t *testing.T) {
	t.Parallel()
	db, analytics := evaluations(t)
	want := []string{}
	for n := 24; n >= 0; n-- {
		want = append(want, "c"+string(rune('a'+n)))
	}
	for n := range 25 { // five at a time, to the microsecond
		evaluate(t, db, "c"+string(rune('a'+n)), time.Date(2026, 1, 1+n/5, 0, 0, 0, 123456000, time.UTC).Format(time.RFC3339Nano), []string{"even", "odd"}[n%2], "0.5", "yes", "1", "")
	}
	for _, size := range []int{1, 3, 25, 0} {
		walked := []string{}
		query := scheduler.EvaluationsQuery{Limit: size}
		for {
			page, err := analytics.Evaluations(t.Context(), query)
			require.NoError(t, err)
			if len(page) == 0 {
				break
			}
			walked = append(walked, contextsOf(page)...)
			place, err := scheduler.ParseEvaluationPlace(scheduler.PlaceOf(page[len(page)-1]).String())
			require.NoError(t, err)
			query.After = place
		}
		require.Equal(t, want, walked, size)
	}
	even, err := analytics.Evaluations(t.Context(), scheduler.EvaluationsQuery{Category: "even", Limit: 2})
	require.NoError(t, err)
	require.Equal(t, []string{"cy", "cw"}, contextsOf(even))
	none, err := analytics.Evaluations(t.Context(), scheduler.EvaluationsQuery{Category: "EVEN"})
	require.NoError(t, err)
	require.Empty(t, none)
}

func TestAnalyticsRefuses(t *testing.T) {
	t.Parallel()
	_, analytics := evaluations(t)
	now := time.Now()
	for _, period := range []scheduler.Period{
		{From: now, To: now},
		{From: now, To: now.Add(-time.Hour)},
		{To: time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC)},
		{From: time.Date(-5, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		_, err := analytics.Goals(t.Context(), period)
		require.ErrorIs(t, err, scheduler.ErrBadArgument)
	}
	for _, limit := range []int{-1, scheduler.AnalyticsLimitMax + 1} {
		_, err := analytics.Issues(t.Context(), scheduler.IssuesQuery{Limit: limit})
		require.ErrorIs(t, err, scheduler.ErrBadArgument)
	}
	for _, category := range []string{"\xff", "nul\x00"} {
		_, err := analytics.Evaluations(t.Context(), scheduler.EvaluationsQuery{Category: category})
		require.ErrorIs(t, err, scheduler.ErrBadArgument)
	}
	for _, place := range []string{"x", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z,", "2026-01-01T00:00:00Z,1x", "2026-01-01T00:00:00Z,1,2", "2026-01-01T00:00:00+01:00,1"} {
		_, err := scheduler.ParseEvaluationPlace(place)
		require.ErrorIs(t, err, scheduler.ErrBadArgument, place)
	}
}

// Every method says which table, or which column, is not there.
func TestAnalyticsOfAnotherDatabase(t *testing.T) {
	t.Parallel()
	all := func(ctx context.Context, a scheduler.Analytics) []error {
		_, categories := a.Categories(ctx, scheduler.CategoriesQuery{})
		_, low := a.LowScores(ctx, scheduler.LowScoresQuery{Below: 0.5})
		_, issues := a.Issues(ctx, scheduler.IssuesQuery{})
		_, goals := a.Goals(ctx, scheduler.Period{})
		_, list := a.Evaluations(ctx, scheduler.EvaluationsQuery{})
		_, distribution := a.Distribution(ctx, scheduler.Period{})
		return []error{categories, low, issues, goals, list, distribution}
	}
	db, analytics := evaluations(t)
	for _, err := range all(t.Context(), analytics) {
		require.NoError(t, err)
	}
	available, err := analytics.Available(t.Context())
	require.NoError(t, err)
	require.True(t, available)

	// It is found where the search_path leads.
	exec1(t, db, "CREATE SCHEMA app; ALTER TABLE conversation_evaluations SET SCHEMA app")
	conn := db.Conn(t)
	_, err = conn.Exec(t.Context(), "SET search_path = app")
	require.NoError(t, err)
	for _, err := range all(t.Context(), newRepository(t, conn).Analytics) {
		require.NoError(t, err)
	}

	available, err = analytics.Available(t.Context())
	require.NoError(t, err)
	require.False(t, available)
	for _, err := range all(t.Context(), analytics) {
		require.ErrorIs(t, err, scheduler.ErrTableAbsent)
		var absent *scheduler.TableError
		require.ErrorAs(t, err, &absent)
		require.Equal(t, "conversation_evaluations", absent.Table)
	}
	_, err = conn.Exec(t.Context(), "ALTER TABLE conversation_evaluations RENAME analyzed_at TO evaluated_at")
	require.NoError(t, err)
	for _, err := range all(t.Context(), newRepository(t, conn).Analytics) {
		require.ErrorIs(t, err, scheduler.ErrColumnAbsent)
		var absent *scheduler.TableError
		require.ErrorAs(t, err, &absent)
		require.Equal(t, "analyzed_at", absent.Column)
	}
}

// With a million evaluations of three years, what is asked of a day or a page reads no
// more than that.
func TestAnalyticsPlans(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, platformTables)
	const count, days = 1_000_000, 1000
	exec1(t, db, `INSERT INTO conversation_evaluations (context_id, goal_achieved, goal_achievement_confidence, primary_category, issues_encountered, overall_score,
			evaluation_summary, total_turns, conversation_duration_seconds, completion_status, analyzed_at)
		SELECT 'c' || n, (ARRAY['yes', 'no', 'partial'])[n % 3 + 1], (n % 11) / 10.0, 'category-' || n % 20, CASE WHEN n % 4 = 0 THEN 'issue-' || n % 100 END, (n % 101) / 100.0,
		       'summary', 3, 60, 'completed', '2023-01-01'::timestamptz + n * interval '86.4 seconds'
		FROM generate_series(1, 1000000) n`)
	exec1(t, db, "VACUUM ANALYZE conversation_evaluations")
	statements := sql.For(scheduler.SchemaDefault)
	conn := db.Conn(t)
	first, end := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	day := time.Date(2024, 6, 1, 0, 0, 0, 0, time.UTC)
	for name, args := range map[string]pgx.NamedArgs{
		"evaluation_categories":   {"zone": "Europe/Berlin", "max": 1000},
		"evaluation_low_scores":   {"below": 0.5, "max": 50},
		"evaluation_issues":       {"max": 20},
		"evaluation_goals":        {},
		"evaluation_distribution": {},
	} {
		args["from_time"], args["to_time"] = day, day.AddDate(0, 0, 1)
		n := read(t, conn, "conversation_evaluations", statements.Text(name), args)
		require.Positive(t, n, name)
		require.LessOrEqual(t, n, 2.1*count/days, name)
	}
	// Further down, where a thousand are left, reading them all may be the cheaper plan.
	for _, before := range []time.Time{end, day, time.Date(2023, 3, 1, 0, 0, 0, 0, time.UTC)} {
		n := read(t, conn, "conversation_evaluations", statements.Text("list_evaluations"), pgx.NamedArgs{
			"from_time": first, "to_time": end, "before": before, "before_id": 0, "category": "", "max": 50,
		})
		require.Positive(t, n)
		require.LessOrEqual(t, n, 110.0, before)
	}
	// Nor does it where the connection has prepared the statement, and the planner may have
	// chosen a plan for any page.
	text, _, err := pgx.NamedArgs{}.RewriteQuery(t.Context(), nil, statements.Text("list_evaluations"), nil)
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), "PREPARE page AS "+text)
	require.NoError(t, err)
	execute := fmt.Sprintf("EXECUTE page ('%s', '%s', '%s', 0, '', 50)", first.Format(time.RFC3339), "10000-01-01", day.Format(time.RFC3339))
	for range 10 {
		_, err = conn.Exec(t.Context(), execute)
		require.NoError(t, err)
	}
	n := read(t, conn, "conversation_evaluations", execute, nil)
	require.Positive(t, n)
	require.LessOrEqual(t, n, 110.0)

	// All of it is one pass, which takes no lock that anybody waits for.
	analytics := newRepository(t, db.Pool(t)).Analytics
	began := time.Now()
	distribution, err := analytics.Distribution(t.Context(), scheduler.Period{})
	require.NoError(t, err)
	require.EqualValues(t, count, distribution.Excellent+distribution.Good+distribution.Fair+distribution.Poor)
	categories, err := analytics.Categories(t.Context(), scheduler.CategoriesQuery{Limit: scheduler.AnalyticsLimitMax})
	require.NoError(t, err)
	require.Len(t, categories, scheduler.AnalyticsLimitMax)
	t.Logf("all of a million evaluations, twice: %v", time.Since(began))
}
