package scheduler

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/systempromptio/scheduler/jobs/cron"
	"github.com/systempromptio/scheduler/sql"
)

type (
	// CategoryDay is the evaluations of a category in a day; see [sql.CategoryDayRow].
	CategoryDay = sql.CategoryDayRow
	// Evaluation is the evaluation of a conversation; see [sql.EvaluationRow].
	Evaluation = sql.EvaluationRow
	// Issue is an issue that conversations had; see [sql.IssueRow].
	Issue = sql.IssueRow
	// GoalAchievement is the conversations that have achieved their goal alike; see
	// [sql.GoalRow].
	GoalAchievement = sql.GoalRow
	// ScoreDistribution counts conversations by their scores; see [sql.DistributionRow].
	ScoreDistribution = sql.DistributionRow
)

// Period is a stretch of time: From is in it, To is not. The zero value is all time; so
// is either end that is zero. What lies outside of the years 1 to 9999 is never in it.
type Period struct{ From, To time.Time }

// bounds checks the period, and gives it ends.
func (p Period) bounds() (from, to time.Time, err error) {
	from, to = timeFirst, timeEnd
	if !p.From.IsZero() {
		from = p.From
	}
	if !p.To.IsZero() {
		to = p.To
	}
	if !from.Before(to) {
		return from, to, fmt.Errorf("the period from %s to %s: %w: it must end after it begins", from.Format(time.RFC3339), to.Format(time.RFC3339), ErrBadArgument)
	}
	if from.Before(timeFirst) || to.After(timeEnd) {
		return from, to, fmt.Errorf("the period from %s to %s: %w: it must lie in the years 1 to 9999", from.Format(time.RFC3339), to.Format(time.RFC3339), ErrBadArgument)
	}
	return from, to, nil
}

const (
	// AnalyticsLimitMax is how much a list of [Analytics] holds at most.
	AnalyticsLimitMax = 10_000

	issuesLimitDefault     = 20
	categoriesLimitDefault = 1000

	// evaluationTable is the platform's table of the evaluations.
	evaluationTable = "conversation_evaluations"
)

// list checks the bounds of a list of a period, and how much it is to hold; zero means the
// default.
func (p Period) list(limit, otherwise int) (from, to time.Time, n int, err error) {
	if from, to, err = p.bounds(); err != nil {
		return from, to, 0, err
	}
	if limit < 0 || limit > AnalyticsLimitMax {
		return from, to, 0, fmt.Errorf("a limit of %d: %w: it must be between 1 and %d, or 0 for %d", limit, ErrBadArgument, AnalyticsLimitMax, otherwise)
	}
	return from, to, cmp.Or(limit, otherwise), nil
}

// Analytics tells how the platform's conversations were evaluated. The table is
// conversation_evaluations, which older installs have.
//
// A score or a confidence is a number from 0 to 1. One that is null, NaN or anything else
// counts as none; the conversation counts nevertheless.
type Analytics struct {
	db         Querier
	statements *sql.Statements
}

// Available says whether the database has the table, and whether its role may read it.
func (a Analytics) Available(ctx context.Context) (bool, error) {
	return a.statements.HasEvaluations(ctx, a.db)
}

// CategoriesQuery says which evaluations [Analytics.Categories] counts.
type CategoriesQuery struct {
	Period Period
	// TimeZone is the IANA name of the time zone whose days are meant, such as Europe/Berlin;
	// empty means UTC.
	TimeZone string
	// Limit is how many rows there are at most, of a category and a day each; zero means
	// 1000.
	Limit int
}

// Categories counts the conversations of each category and day, newest day first, with
// their average, lowest and highest score. Days without any are left out.
func (a Analytics) Categories(ctx context.Context, query CategoriesQuery) ([]CategoryDay, error) {
	from, to, n, err := query.Period.list(query.Limit, categoriesLimitDefault)
	if err != nil {
		return nil, err
	}
	zone := cmp.Or(query.TimeZone, "UTC")
	if _, err := cron.LoadLocation(zone); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadArgument, err)
	}
	list, err := a.statements.EvaluationCategories(ctx, a.db, from, to, zone, n)
	return list, a.translate(ctx, "evaluation_categories", err)
}

// LowScoresQuery says which conversations [Analytics.LowScores] lists.
type LowScoresQuery struct {
	Period Period
	// Below is the score that is not reached, more than 0 and at most 1. Required.
	Below float64
	// Limit is how many there are at most; zero means 50.
	Limit int
}

// LowScores lists the conversations below a score, lowest first, and of the same score
// the newest first.
func (a Analytics) LowScores(ctx context.Context, query LowScoresQuery) ([]Evaluation, error) {
	from, to, n, err := query.Period.list(query.Limit, listLimitDefault)
	if err != nil {
		return nil, err
	}
	if math.IsNaN(query.Below) || query.Below <= 0 || query.Below > 1 {
		return nil, fmt.Errorf("scores below %v: %w: give a score of more than 0, and at most 1", query.Below, ErrBadArgument)
	}
	list, err := a.statements.EvaluationLowScores(ctx, a.db, from, to, query.Below, n)
	return list, a.translate(ctx, "evaluation_low_scores", err)
}

// IssuesQuery says which issues [Analytics.Issues] lists.
type IssuesQuery struct {
	Period Period
	// Limit is how many there are at most; zero means 20.
	Limit int
}

// Issues lists the issues that most conversations had. An issue is the whole text that an
// evaluation has for it.
func (a Analytics) Issues(ctx context.Context, query IssuesQuery) ([]Issue, error) {
	from, to, n, err := query.Period.list(query.Limit, issuesLimitDefault)
	if err != nil {
		return nil, err
	}
	list, err := a.statements.EvaluationIssues(ctx, a.db, from, to, n)
	return list, a.translate(ctx, "evaluation_issues", err)
}

// Goals counts how many conversations have achieved their goal, and how sure that is: yes
// first, then partial, no, and whatever else there is.
func (a Analytics) Goals(ctx context.Context, period Period) ([]GoalAchievement, error) {
	from, to, err := period.bounds()
	if err != nil {
		return nil, err
	}
	list, err := a.statements.EvaluationGoals(ctx, a.db, from, to)
	return list, a.translate(ctx, "evaluation_goals", err)
}

// EvaluationsQuery says which evaluations [Analytics.Evaluations] lists.
type EvaluationsQuery struct {
	Period Period
	// Category selects; empty means all.
	Category string
	// After is the last evaluation of the page before, of which only AnalyzedAt and ID
	// count. The zero value is the first page.
	After EvaluationPlace
	// Limit is how many there are at most; zero means 50.
	Limit int
}

// EvaluationPlace is a place in the order of the evaluations.
type EvaluationPlace struct {
	AnalyzedAt time.Time
	ID         int64
}

// PlaceOf is where an evaluation stands.
func PlaceOf(evaluation Evaluation) EvaluationPlace {
	return EvaluationPlace{AnalyzedAt: evaluation.AnalyzedAt, ID: evaluation.ID}
}

// String is the place as [ParseEvaluationPlace] reads it: the time, a comma, the id.
func (p EvaluationPlace) String() string {
	return fmt.Sprintf("%s,%d", p.AnalyzedAt.UTC().Format(time.RFC3339Nano), p.ID)
}

// ParseEvaluationPlace reads what [EvaluationPlace.String] has written. An empty text is
// the first page's; what makes no sense is [ErrBadArgument].
func ParseEvaluationPlace(text string) (p EvaluationPlace, err error) {
	if text == "" {
		return p, nil
	}
	at, id, _ := strings.Cut(text, ",")
	if p.AnalyzedAt, err = time.Parse(time.RFC3339Nano, at); err == nil {
		_, err = fmt.Sscanf(id, "%d", &p.ID)
	}
	if err != nil || p.String() != text {
		return EvaluationPlace{}, fmt.Errorf("%q is no place in a list of evaluations: %w: it is what the page before has ended with, such as 2026-03-29T14:30:00Z,4711", text, ErrBadArgument)
	}
	return p, nil
}

// Evaluations lists evaluations, newest first, in pages: a page that follows costs what
// the first does.
func (a Analytics) Evaluations(ctx context.Context, query EvaluationsQuery) ([]Evaluation, error) {
	from, to, n, err := query.Period.list(query.Limit, listLimitDefault)
	if err != nil {
		return nil, err
	}
	if !utf8.ValidString(query.Category) || strings.ContainsRune(query.Category, 0) {
		return nil, fmt.Errorf("category %q: %w: it is not text", query.Category, ErrBadArgument)
	}
	page := sql.EvaluationPage{From: from, To: to, Category: query.Category, Before: timeEnd, Limit: n}
	if query.After != (EvaluationPlace{}) {
		page.Before, page.BeforeID = query.After.AnalyzedAt, query.After.ID
	}
	list, err := a.statements.ListEvaluations(ctx, a.db, page)
	return list, a.translate(ctx, "list_evaluations", err)
}

// Distribution counts the conversations by their scores.
func (a Analytics) Distribution(ctx context.Context, period Period) (ScoreDistribution, error) {
	from, to, err := period.bounds()
	if err != nil {
		return ScoreDistribution{}, err
	}
	distribution, err := a.statements.EvaluationDistribution(ctx, a.db, from, to)
	return distribution, a.translate(ctx, "evaluation_distribution", err)
}

func (a Analytics) translate(ctx context.Context, statement string, err error) error {
	return tableError(ctx, evaluationTable, a.statements.Text(statement), err)
}
