package sql

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// CategoryDayRow is the evaluations of a category in a day.
type CategoryDayRow struct {
	Category string `json:"category"`
	// Day is the day, such as 2026-03-29, in the zone that was asked for.
	Day           string `json:"day"`
	Conversations int64  `json:"conversations"`
	// Scored is how many of them have a score; the scores are nil if none has.
	Scored       int64    `json:"scored"`
	AverageScore *float64 `json:"average_score"`
	LowestScore  *float64 `json:"lowest_score"`
	HighestScore *float64 `json:"highest_score"`
}

// EvaluationRow is the evaluation of a conversation.
type EvaluationRow struct {
	ID        int64  `json:"id"         db:"id"`
	ContextID string `json:"context_id" db:"context_id"`
	Category  string `json:"category"`
	// GoalAchieved is yes, partial or no.
	GoalAchieved string `json:"goal_achieved"`
	// Confidence is that of GoalAchieved, Score the overall one, from 0 to 1; nil for none.
	Confidence *float64 `json:"confidence"`
	Score      *float64 `json:"score"`
	// Issues and Summary are cut after 4000 characters.
	Issues          *string `json:"issues"`
	Summary         *string `json:"summary"`
	Turns           *int64  `json:"turns"`
	DurationSeconds *int64  `json:"duration_seconds"`
	// CompletionStatus is completed, abandoned or error.
	CompletionStatus string    `json:"completion_status"`
	AnalyzedAt       time.Time `json:"analyzed_at"`
}

// IssueRow is an issue that conversations had.
type IssueRow struct {
	// Issue is cut after 1000 characters.
	Issue         string    `json:"issue"`
	Conversations int64     `json:"conversations"`
	LastAt        time.Time `json:"last_at"`
	// AverageScore is nil if none has a score.
	AverageScore *float64 `json:"average_score"`
}

// GoalRow is the conversations that have achieved their goal alike, by how sure that is.
type GoalRow struct {
	// GoalAchieved is yes, partial or no.
	GoalAchieved  string `json:"goal_achieved"`
	Conversations int64  `json:"conversations"`
	// AverageConfidence is nil if none has any.
	AverageConfidence *float64 `json:"average_confidence"`
	// High is a confidence of 0.8 or more, Medium one of 0.5 or more, Low the rest, and
	// Unknown none.
	High    int64 `json:"high"`
	Medium  int64 `json:"medium"`
	Low     int64 `json:"low"`
	Unknown int64 `json:"unknown"`
}

// DistributionRow counts conversations by their scores.
type DistributionRow struct {
	// Excellent is a score of 0.9 or more, Good one of 0.7 or more, Fair one of 0.5 or
	// more, Poor the rest, and Unscored none.
	Excellent int64 `json:"excellent"`
	Good      int64 `json:"good"`
	Fair      int64 `json:"fair"`
	Poor      int64 `json:"poor"`
	Unscored  int64 `json:"unscored"`
}

// HasEvaluations says whether the evaluations are there and may be read.
func (s *Statements) HasEvaluations(ctx context.Context, db Querier) (bool, error) {
	return call[bool](ctx, db, "look for the evaluations", s.Text("has_evaluations"), pgx.NamedArgs{})
}

// EvaluationCategories reads the evaluations of [from, to) by day of a zone and category,
// newest day first.
func (s *Statements) EvaluationCategories(ctx context.Context, db Querier, from, to time.Time, zone string, limit int) ([]CategoryDayRow, error) {
	return collect[CategoryDayRow](ctx, db, "read the categories", s.Text("evaluation_categories"), pgx.NamedArgs{
		"from_time": from, "to_time": to, "zone": zone, "max": limit,
	})
}

// EvaluationLowScores reads the conversations of [from, to) below a score, lowest first.
func (s *Statements) EvaluationLowScores(ctx context.Context, db Querier, from, to time.Time, below float64, limit int) ([]EvaluationRow, error) {
	return collect[EvaluationRow](ctx, db, "read the low scores", s.Text("evaluation_low_scores"), pgx.NamedArgs{
		"from_time": from, "to_time": to, "below": below, "max": limit,
	})
}

// EvaluationIssues reads the issues of [from, to), most conversations first.
func (s *Statements) EvaluationIssues(ctx context.Context, db Querier, from, to time.Time, limit int) ([]IssueRow, error) {
	return collect[IssueRow](ctx, db, "read the issues", s.Text("evaluation_issues"), pgx.NamedArgs{"from_time": from, "to_time": to, "max": limit})
}

// EvaluationGoals reads how goals were achieved in [from, to).
func (s *Statements) EvaluationGoals(ctx context.Context, db Querier, from, to time.Time) ([]GoalRow, error) {
	return collect[GoalRow](ctx, db, "read the goals", s.Text("evaluation_goals"), pgx.NamedArgs{"from_time": from, "to_time": to})
}

// EvaluationPage says which evaluations to list.
type EvaluationPage struct {
	From, To time.Time
	// Category selects; empty means all.
	Category string
	// Before and BeforeID are the place in the order that the page begins after.
	Before   time.Time
	BeforeID int64
	Limit    int
}

// ListEvaluations reads a page of evaluations, newest first.
func (s *Statements) ListEvaluations(ctx context.Context, db Querier, page EvaluationPage) ([]EvaluationRow, error) {
	return collect[EvaluationRow](ctx, db, "list the evaluations", s.Text("list_evaluations"), pgx.NamedArgs{
		"from_time": page.From, "to_time": page.To, "category": page.Category, "before": page.Before, "before_id": page.BeforeID, "max": page.Limit,
	})
}

// EvaluationDistribution counts the conversations of [from, to) by their scores.
func (s *Statements) EvaluationDistribution(ctx context.Context, db Querier, from, to time.Time) (DistributionRow, error) {
	return one[DistributionRow](ctx, db, "read the distribution of scores", s.Text("evaluation_distribution"), pgx.NamedArgs{"from_time": from, "to_time": to})
}
