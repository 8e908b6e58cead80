package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs/cron"
)

// evaluated says where the calls of the analytics read from.
const evaluated = " Of the table conversation_evaluations, as the replica's search_path finds it; 404, table_absent, where there is none."

//nolint:gochecknoglobals // a constant
var limitQuery = queryParameter{"limit", "at most so many, 1 to 1000; default 50"}

// periodQuery are the parameters that all analytics have.
func periodQuery() []queryParameter {
	return []queryParameter{
		{"from", "only evaluations since this time, RFC 3339, or since this date"},
		{"to", "only evaluations before this time, RFC 3339, or before this date"},
		{"timezone", "IANA name of the time zone of days and dates; default UTC"},
	}
}

// timeZone reads the time zone that an address names.
func (c *call) timeZone() (*time.Location, error) {
	location, err := cron.LoadLocation(cmp.Or(c.r.URL.Query().Get("timezone"), "UTC"))
	if err != nil {
		return nil, &badRequestError{fmt.Errorf("timezone: %w", err)}
	}
	return location, nil
}

// period reads which time an address names.
func (c *call) period() (period scheduler.Period, err error) {
	location, err := c.timeZone()
	if err != nil {
		return period, err
	}
	for name, into := range map[string]*time.Time{"from": &period.From, "to": &period.To} {
		text := c.r.URL.Query().Get(name)
		if text == "" {
			continue
		}
		if *into, err = time.Parse(time.RFC3339, text); err != nil {
			*into, err = time.ParseInLocation(time.DateOnly, text, location)
		}
		if err != nil {
			return period, &badRequestError{fmt.Errorf("%s is %q, must be a time such as 2026-03-29T14:30:00Z, or a date such as 2026-03-29", name, text)}
		}
	}
	return period, nil
}

// analyzed reads the period and the limit, and then something of the evaluations.
func analyzed[T any](ctx context.Context, c *call, limitMost int64, read func(scheduler.Analytics, scheduler.Period, int) (T, error)) (value T, err error) {
	period, err := c.period()
	if err != nil {
		return value, err
	}
	limit, err := c.number("limit", limitMost, 0)
	if err != nil {
		return value, err
	}
	return lookingAt(ctx, c.server, func() (T, error) { return read(c.client.Repository().Analytics, period, int(limit)) })
}

func getCategories(ctx context.Context, c *call) (any, error) {
	return listed(analyzed(ctx, c, scheduler.AnalyticsLimitMax, func(a scheduler.Analytics, period scheduler.Period, limit int) ([]scheduler.CategoryDay, error) {
		return a.Categories(ctx, scheduler.CategoriesQuery{Period: period, TimeZone: c.r.URL.Query().Get("timezone"), Limit: limit})
	}))
}

func getLowScores(ctx context.Context, c *call) (any, error) {
	below := 0.5
	if text := c.r.URL.Query().Get("below"); text != "" {
		var err error
		if below, err = strconv.ParseFloat(text, 64); err != nil {
			return nil, &badRequestError{fmt.Errorf("below is %q, must be a score of more than 0, and at most 1", text)}
		}
	}
	return listed(analyzed(ctx, c, limitMax, func(a scheduler.Analytics, period scheduler.Period, limit int) ([]scheduler.Evaluation, error) {
		return a.LowScores(ctx, scheduler.LowScoresQuery{Period: period, Below: below, Limit: limit})
	}))
}

func getIssues(ctx context.Context, c *call) (any, error) {
	return listed(analyzed(ctx, c, limitMax, func(a scheduler.Analytics, period scheduler.Period, limit int) ([]scheduler.Issue, error) {
		return a.Issues(ctx, scheduler.IssuesQuery{Period: period, Limit: limit})
	}))
}

func getGoals(ctx context.Context, c *call) (any, error) {
	return listed(analyzed(ctx, c, 1, func(a scheduler.Analytics, period scheduler.Period, _ int) ([]scheduler.GoalAchievement, error) {
		return a.Goals(ctx, period)
	}))
}

func getEvaluations(ctx context.Context, c *call) (any, error) {
	after, err := scheduler.ParseEvaluationPlace(c.r.URL.Query().Get("after"))
	if err != nil {
		return nil, err
	}
	return listed(analyzed(ctx, c, limitMax, func(a scheduler.Analytics, period scheduler.Period, limit int) ([]scheduler.Evaluation, error) {
		return a.Evaluations(ctx, scheduler.EvaluationsQuery{Period: period, Category: c.r.URL.Query().Get("category"), After: after, Limit: limit})
	}))
}

func getDistribution(ctx context.Context, c *call) (any, error) {
	return analyzed(ctx, c, 1, func(a scheduler.Analytics, period scheduler.Period, _ int) (scheduler.ScoreDistribution, error) {
		return a.Distribution(ctx, period)
	})
}

func getPendingImages(ctx context.Context, c *call) (any, error) {
	const otherwise = 50
	limit, err := c.number("limit", limitMax, otherwise)
	if err != nil {
		return nil, err
	}
	return listed(lookingAt(ctx, c.server, func() ([]scheduler.PendingImage, error) {
		return c.client.Repository().Images.Pending(ctx, int(limit))
	}))
}

// analyticsInterval is how old it may be whether there is anything to analyze.
const analyticsInterval = time.Minute

// hasAnalytics says whether there are evaluations to show. What cannot be asked has none.
func (s *Server) hasAnalytics(ctx context.Context) bool {
	has, err := s.analytics.get(ctx, func(ctx context.Context) (has bool, good time.Duration, err error) {
		err = s.source.probed(ctx, func(ctx context.Context, probe *scheduler.Client) error {
			has, err = probe.Repository().Analytics.Available(ctx)
			return err
		})
		return has, analyticsInterval, err
	})
	return has && err == nil
}

const (
	// analyticsDays is how far the page goes back where nothing else is asked for.
	analyticsDays = 30

	// These are how much of each list the page shows.
	analyticsCategories  = 100
	analyticsLow         = 10
	analyticsEvaluations = 50
)

// analyticsData is what the page shows.
type analyticsData struct {
	page

	// From, To and TimeZone are what the form holds.
	From, To, TimeZone, Category string
	Bands                        []bandView
	Goals                        []scheduler.GoalAchievement
	Issues                       []issueView
	Categories                   []scheduler.CategoryDay
	CategoriesCut                bool
	LowTable, Table              evaluationTable
	Older                        string
	// Pending is how many images are to be optimized; nil where there is no content.
	Pending *int64
}

// bandView is how many conversations have a score within two bounds.
type bandView struct {
	Name    string
	Count   int64
	Percent int64
}

type issueView struct {
	scheduler.Issue

	Last *time.Time
}

// evaluationTable is a table of evaluations, and its name.
type evaluationTable struct {
	Name string
	List []evaluationView
}

// evaluationView is an evaluation as the page shows it.
type evaluationView struct {
	scheduler.Evaluation

	At           *time.Time
	Took, Issued string
}

func (s *Server) analyticsPage(ctx context.Context, c *call) (string, any, error) {
	period, err := c.period()
	if err != nil {
		return "", nil, err
	}
	after, err := scheduler.ParseEvaluationPlace(c.r.URL.Query().Get("after"))
	if err != nil {
		return "", nil, err
	}
	location, err := c.timeZone()
	if err != nil {
		return "", nil, err
	}
	query := c.r.URL.Query()
	if !query.Has("from") {
		now, err := c.client.Now(ctx)
		if err != nil {
			return "", nil, err
		}
		y, m, d := now.In(location).Date()
		period.From = time.Date(y, m, d-analyticsDays, 0, 0, 0, 0, location)
		query.Set("from", period.From.Format(time.DateOnly))
	}
	data := analyticsData{From: query.Get("from"), To: query.Get("to"), TimeZone: location.String(), Category: query.Get("category")}
	data.prefix = s.site.prefix
	evaluations := scheduler.EvaluationsQuery{Period: period, Category: data.Category, After: after, Limit: analyticsEvaluations}
	if _, err := lookingAt(ctx, s, func() (none struct{}, err error) {
		return none, readAnalytics(ctx, c.client.Repository(), evaluations, query, &data)
	}); err != nil {
		return "", nil, err
	}
	data.page = s.page(ctx, "Analytics", "analytics", "")
	return "analytics.html", data, nil
}

// readAnalytics reads what the page shows: the evaluations that are asked for, and of
// their period the rest.
func readAnalytics(ctx context.Context, repository *scheduler.Repository, evaluations scheduler.EvaluationsQuery, query url.Values, data *analyticsData) error {
	analytics, period := repository.Analytics, evaluations.Period
	distribution, err := analytics.Distribution(ctx, period)
	if err != nil {
		return err
	}
	data.Bands = bandViews(distribution)
	if data.Goals, err = analytics.Goals(ctx, period); err != nil {
		return err
	}
	issues, err := analytics.Issues(ctx, scheduler.IssuesQuery{Period: period})
	if err != nil {
		return err
	}
	for _, issue := range issues {
		data.Issues = append(data.Issues, issueView{Issue: issue, Last: &issue.LastAt})
	}
	data.Categories, err = analytics.Categories(ctx, scheduler.CategoriesQuery{Period: period, TimeZone: data.TimeZone, Limit: analyticsCategories})
	if err != nil {
		return err
	}
	data.CategoriesCut = len(data.Categories) == analyticsCategories
	low, err := analytics.LowScores(ctx, scheduler.LowScoresQuery{Period: period, Below: 0.5, Limit: analyticsLow})
	if err != nil {
		return err
	}
	list, err := analytics.Evaluations(ctx, evaluations)
	if err != nil {
		return err
	}
	data.LowTable, data.Table = evaluationTable{"Lowest scores", evaluationViews(low)}, evaluationTable{"Evaluations", evaluationViews(list)}
	if len(list) == analyticsEvaluations {
		query.Set("after", scheduler.PlaceOf(list[len(list)-1]).String())
		data.Older = data.prefix + "/analytics?" + query.Encode() + "#evaluations"
	}
	pending, err := repository.Images.CountPending(ctx)
	switch {
	case err == nil:
		data.Pending = &pending
	case !errors.Is(err, scheduler.ErrTableAbsent) && !errors.Is(err, scheduler.ErrColumnAbsent) && !errors.Is(err, scheduler.ErrPrivilege):
		return err
	}
	return nil
}

func bandViews(d scheduler.ScoreDistribution) []bandView {
	all := d.Excellent + d.Good + d.Fair + d.Poor + d.Unscored
	views := []bandView{
		{Name: "Excellent, 0.9 and more", Count: d.Excellent},
		{Name: "Good, 0.7 and more", Count: d.Good},
		{Name: "Fair, 0.5 and more", Count: d.Fair},
		{Name: "Poor", Count: d.Poor},
	}
	if d.Unscored > 0 {
		views = append(views, bandView{Name: "Without a score", Count: d.Unscored})
	}
	for i := range views {
		views[i].Percent = percent(views[i].Count, all)
	}
	return views
}

func evaluationViews(list []scheduler.Evaluation) []evaluationView {
	views := make([]evaluationView, 0, len(list))
	for _, e := range list {
		v := evaluationView{Evaluation: e, At: &e.AnalyzedAt, Issued: firstLine(deref(e.Issues))}
		if e.DurationSeconds != nil {
			v.Took = secondsText(float64(*e.DurationSeconds))
		}
		views = append(views, v)
	}
	return views
}

// scoreText is a score or a confidence; a dash for none.
func scoreText(score *float64) string {
	if score == nil {
		return "–"
	}
	return strconv.FormatFloat(*score, 'f', 2, 64)
}
