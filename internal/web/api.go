package web

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/retention"
)

// apiPath is where the JSON API begins. What is documented of it stays as it is; keys
// may be added.
const apiPath = "/api/v1"

// route is a call of the API.
type route struct {
	method, path, summary string
	// query lists the parameters of the address, body is a value of the body's type; nil
	// for none.
	query []queryParameter
	body  any
	// slow: the call looks at the application's tables.
	slow bool
	call func(ctx context.Context, c *call) (any, error)
}

// queryParameter is a parameter of an address.
type queryParameter struct{ name, summary string }

// call is a request of the API.
type call struct {
	client *scheduler.Client
	server *Server
	r      *http.Request
	// since is when a stream began, whose page must not be made older than it is.
	since time.Time
}

// routes lists the API, in the order of its reference.
func routes() []route {
	return []route{
		{method: "GET", path: "/state", summary: "Who leads, which replicas live, whether the scheduler is paused, and the database's clock.", call: getState},
		{method: "GET", path: "/jobs", summary: "All jobs, by name.", call: func(ctx context.Context, c *call) (any, error) { return listed(c.client.Jobs(ctx)) }},
		{method: "GET", path: "/jobs/{name}", summary: "A job.", call: func(ctx context.Context, c *call) (any, error) { return c.client.Job(ctx, c.name()) }},
		{method: "GET", path: "/jobs/{name}/next", summary: "The next ticks of a job, in words and as times, by its schedule or by another one.", query: []queryParameter{
			{"schedule", "cron text to look at in the place of the job's own"}, {"count", "so many ticks, 1 to 100; default 5"},
		}, call: getNext},
		{method: "GET", path: "/jobs/{name}/explain", summary: "What a cleanup job would do in this database, and how.", query: []queryParameter{
			{"p.NAME", "a parameter in the place of the declared one; a list has commas between its items"},
		}, slow: true, call: getExplanation},
		{method: "GET", path: "/jobs/{name}/history", summary: "The newest 50 runs of a job, oldest first, in lists; and the rows that it changed each day of the last 30.", call: getHistory},
		{method: "GET", path: "/agenda", summary: "What is going to run.", query: []queryParameter{{"within", "a duration such as 24h, at most 8760h; default 24h"}}, call: getAgenda},
		{method: "GET", path: "/runs", summary: "Runs, newest first.", query: []queryParameter{
			{"job", "only runs of this job"},
			{"status", "only runs in this status"},
			{"backfill", "only runs of the backfill with this id"},
			{"before", "only runs with a lower id: the last one of the page before"},
			{"limit", "at most so many, 1 to 1000; default 50"},
		}, call: getRuns},
		{method: "GET", path: "/runs/{id}", summary: "A run, with its targets, progress and error.", call: getRun},
		{method: "GET", path: "/runs/{id}/log", summary: "What is kept of a run's log, in order.", call: func(ctx context.Context, c *call) (any, error) { return listed(byID(ctx, c, c.client.Log)) }},
		{method: "GET", path: "/incidents", summary: "What was skipped, missed, failed, blocked or cancelled, alike ones together, the latest first.", query: []queryParameter{
			{"job", "only of this job"}, {"since", "RFC 3339; default a day ago"}, {"limit", "at most so many, 1 to 1000; default 50"},
		}, call: getIncidents},
		{method: "GET", path: "/backfills", summary: "The newest 50 backfills.", call: func(ctx context.Context, c *call) (any, error) { return listed(c.client.Backfills(ctx)) }},
		{method: "GET", path: "/backfills/{id}", summary: "A backfill.", call: func(ctx context.Context, c *call) (any, error) { return byID(ctx, c, c.client.Backfill) }},
		{method: "GET", path: "/rollouts", summary: "What jobs in rollout would have changed so far.", call: func(ctx context.Context, c *call) (any, error) { return listed(c.client.Rollouts(ctx, "")) }},
		{method: "GET", path: "/analytics/categories", summary: "The conversations of each category and day, newest day first, with their scores." + evaluated, query: append(periodQuery(),
			queryParameter{"limit", "at most so many, 1 to 10000; default 1000"}), slow: true, call: getCategories},
		{method: "GET", path: "/analytics/low", summary: "The conversations below a score, lowest first." + evaluated, query: append(periodQuery(),
			queryParameter{"below", "the score that is not reached, more than 0 and at most 1; default 0.5"}, limitQuery), slow: true, call: getLowScores},
		{method: "GET", path: "/analytics/issues", summary: "The issues that most conversations had." + evaluated, query: append(periodQuery(),
			queryParameter{"limit", "at most so many, 1 to 1000; default 20"}), slow: true, call: getIssues},
		{method: "GET", path: "/analytics/goals", summary: "How many conversations have achieved their goal, by how sure that is." + evaluated, query: periodQuery(), slow: true, call: getGoals},
		{method: "GET", path: "/analytics/evaluations", summary: "Evaluations, newest first." + evaluated, query: append(periodQuery(),
			queryParameter{"category", "only those of this category"}, queryParameter{"after", "analyzed_at and id of the last one of the page before, with a comma between"}, limitQuery), slow: true, call: getEvaluations},
		{method: "GET", path: "/analytics/distribution", summary: "The conversations by their scores." + evaluated, query: periodQuery(), slow: true, call: getDistribution},
		{method: "GET", path: "/images/pending", summary: "The content whose images are to be optimized, newest first. 404, table_absent, where the database has no content.", query: []queryParameter{limitQuery}, slow: true, call: getPendingImages},
		{method: "GET", path: "/version", summary: "The replica's version.", call: func(_ context.Context, c *call) (any, error) {
			return map[string]string{"version": c.server.config.Version}, nil
		}},

		{method: "POST", path: "/jobs/{name}/run", summary: "Ask for a run, now or at a time to come. Answers with the run, 202.", body: runRequest{}, call: postRun},
		{method: "POST", path: "/jobs/{name}/pause", summary: "Stop a job from being enqueued.", body: pauseRequest{}, call: postPause},
		{method: "POST", path: "/jobs/{name}/resume", summary: "Let a paused job run again.", call: postResume},
		{method: "POST", path: "/jobs/{name}/reschedule", summary: "Set a job's schedule over the declared one; an empty one goes back to that.", body: rescheduleRequest{}, call: postReschedule},
		{method: "POST", path: "/jobs/{name}/end-rollout", summary: "End a job's rollout before its time: its scheduled runs are real from now on.", call: postEndRollout},
		{method: "POST", path: "/jobs/{name}/backfill", summary: "Ask for the runs of past ticks. Answers with the backfill, 202.", body: backfillRequest{}, call: postBackfill},
		{method: "POST", path: "/runs/{id}/cancel", summary: "Cancel a run that has not ended.", body: reasonRequest{}, call: postCancel},
		{method: "POST", path: "/backfills/{id}/cancel", summary: "Take back the runs of a backfill that have not begun.", body: reasonRequest{}, call: postCancelBackfill},
		{method: "POST", path: "/pause", summary: "Pause the whole scheduler.", body: pauseRequest{}, call: postPauseAll},
		{method: "POST", path: "/resume", summary: "End the pause of the whole scheduler.", call: postResumeAll},
	}
}

// addAPI adds the API's routes.
func (s *Server) addAPI(mux *http.ServeMux) {
	for _, route := range routes() {
		mux.HandleFunc(route.method+" "+apiPath+route.path, func(w http.ResponseWriter, r *http.Request) { s.serveCall(w, r, route) })
	}
	mux.HandleFunc(apiPath+"/", func(w http.ResponseWriter, r *http.Request) {
		s.site.writeRefusal(w, r, &refusal{http.StatusNotFound, "not_found", r.Method + " " + r.URL.Path + " is nothing that the API has"})
	})
}

func (s *Server) serveCall(w http.ResponseWriter, r *http.Request, route route) {
	timeout := requestTimeout
	if route.slow {
		timeout = explainTimeout
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	client, err := s.source.get(ctx)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	value, err := route.call(ctx, &call{client: client, server: s, r: r})
	if err != nil {
		s.fail(w, r, err)
		return
	}
	status := http.StatusOK
	if accepted, ok := value.(accepted); ok {
		status, value = http.StatusAccepted, accepted.value
	}
	writeJSON(w, status, value)
}

// accepted is an answer to what will be done.
type accepted struct{ value any }

func (c *call) name() string { return c.r.PathValue("name") }

func (c *call) id() (int64, error) {
	id, err := strconv.ParseInt(c.r.PathValue("id"), 10, 64)
	if err != nil {
		return 0, &badRequestError{fmt.Errorf("%q is no id; it is a number", c.r.PathValue("id"))}
	}
	return id, nil
}

// number reads a number of the address, which is at least 1.
func (c *call) number(name string, most, otherwise int64) (int64, error) {
	text := c.r.URL.Query().Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 || n > most {
		return 0, &badRequestError{fmt.Errorf("%s is %q, must be a number between 1 and %d", name, text, most)}
	}
	return n, nil
}

// body reads the request's body. An empty one is that of no keys.
func (c *call) body(into any) error {
	if kind, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type")); c.r.ContentLength != 0 && (err != nil || kind != "application/json") {
		return &badRequestError{errors.New("the body must be JSON, with the header Content-Type: application/json")}
	}
	content, err := io.ReadAll(c.r.Body)
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(content)) == 0 {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	decoder.UseNumber()
	if err := decoder.Decode(into); err != nil {
		return &badRequestError{fmt.Errorf("the body: %w", err)}
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return &badRequestError{errors.New("the body: something follows the object")}
	}
	return nil
}

// listed makes an empty list of none, which JSON would have as null.
func listed[T any](list []T, err error) (any, error) {
	if list == nil {
		list = []T{}
	}
	return list, err
}

func byID[T any](ctx context.Context, c *call, read func(context.Context, int64) (T, error)) (value T, err error) {
	id, err := c.id()
	if err != nil {
		return value, err
	}
	return read(ctx, id)
}

func getState(ctx context.Context, c *call) (any, error) {
	var answer struct {
		Now      time.Time           `json:"now"`
		Leader   *scheduler.Leader   `json:"leader"`
		Replicas []scheduler.Replica `json:"replicas"`
		scheduler.State
	}
	var err error
	if answer.Leader, err = c.client.Leader(ctx); err != nil {
		return nil, err
	}
	if answer.Replicas, err = c.client.Replicas(ctx); err != nil {
		return nil, err
	}
	if answer.State, err = c.client.State(ctx); err != nil {
		return nil, err
	}
	answer.Now, err = c.client.Now(ctx)
	return answer, err
}

// nextAnswer is when a schedule is due.
type nextAnswer struct {
	Schedule string `json:"schedule"`
	Timezone string `json:"timezone"`
	// Words says it in English.
	Words string      `json:"words"`
	Ticks []time.Time `json:"ticks"`
}

const (
	nextDefault = 5
	nextMax     = 100
)

func getNext(ctx context.Context, c *call) (any, error) {
	count, err := c.number("count", nextMax, nextDefault)
	if err != nil {
		return nil, err
	}
	job, err := c.client.Job(ctx, c.name())
	if err != nil {
		return nil, err
	}
	now, err := c.client.Now(ctx)
	if err != nil {
		return nil, err
	}
	return nextOf(job, cmp.Or(c.r.URL.Query().Get("schedule"), job.Schedule), now, int(count))
}

// nextOf computes the next ticks of a job by a schedule.
func nextOf(job scheduler.Job, text string, now time.Time, count int) (nextAnswer, error) {
	schedule, err := jobs.ParseSchedule(job.JobName, text, job.Timezone)
	if err != nil {
		return nextAnswer{}, err
	}
	job.Schedule = text
	ticks, err := scheduler.NextTicks(job, now, count)
	return nextAnswer{Schedule: text, Timezone: job.Timezone, Words: schedule.Words(), Ticks: ticks}, err
}

func getExplanation(ctx context.Context, c *call) (any, error) {
	job, err := c.server.explainable(c.name())
	if err != nil {
		return nil, err
	}
	row, err := c.client.Job(ctx, c.name())
	if err != nil {
		return nil, err
	}
	given, err := typedParameters(row, c.r.URL.Query())
	if err != nil {
		return nil, err
	}
	return c.server.explain(ctx, c.client, job, given)
}

// explain looks at a job's tables.
func (s *Server) explain(ctx context.Context, client *scheduler.Client, job retention.Explainer, given map[string]any) ([]retention.Explanation, error) {
	return lookingAt(ctx, s, func() ([]retention.Explanation, error) { return client.Explain(ctx, job, given) })
}

// lookingAt reads something of the application's tables; one at a time, so that a table
// that somebody has locked leaves a connection to the others.
func lookingAt[T any](ctx context.Context, s *Server, read func() (T, error)) (value T, err error) {
	select {
	case s.looking <- struct{}{}:
		defer func() { <-s.looking }()
	case <-ctx.Done():
		return value, ctx.Err()
	}
	return read()
}

// explainable is a job of this program that can explain itself.
func (s *Server) explainable(name string) (retention.Explainer, error) {
	job, err := s.config.Registry.Get(name)
	if err != nil {
		return nil, err
	}
	explainer, ok := job.(retention.Explainer)
	if !ok {
		return nil, &badRequestError{fmt.Errorf("job %q is neither made of cleanup rules nor a declared partition job: what it does is in its code, or in the configuration", name)}
	}
	return explainer, nil
}

const (
	// historyCount is how many runs a strip shows, and historyDays how many days a chart.
	historyCount = 50
	historyDays  = 30
)

func getHistory(ctx context.Context, c *call) (any, error) {
	if _, err := c.client.Job(ctx, c.name()); err != nil {
		return nil, err
	}
	var answer struct {
		Runs scheduler.History   `json:"runs"`
		Days []scheduler.DayRows `json:"days"`
	}
	answer.Runs = scheduler.History{JobName: c.name(), IDs: []int64{}, Statuses: []jobs.Status{}, Durations: []float64{}, RowCounts: []int64{}}
	histories, err := c.client.History(ctx, c.name(), historyCount)
	if err != nil {
		return nil, err
	}
	if len(histories) > 0 {
		answer.Runs = histories[0]
	}
	answer.Days, err = c.client.RowsByDay(ctx, c.name(), time.Now().AddDate(0, 0, -historyDays))
	if answer.Days == nil {
		answer.Days = []scheduler.DayRows{}
	}
	return answer, err
}

func getAgenda(ctx context.Context, c *call) (any, error) {
	within := 24 * time.Hour
	if text := c.r.URL.Query().Get("within"); text != "" {
		var err error
		if within, err = time.ParseDuration(text); err != nil || within <= 0 || within > 365*24*time.Hour {
			return nil, &badRequestError{fmt.Errorf("within is %q, must be a duration such as 24h, at most 8760h", text)}
		}
	}
	return listed(c.client.Agenda(ctx, within))
}

func getRuns(ctx context.Context, c *call) (any, error) {
	filter, err := runFilter(c, limitMax)
	if err != nil {
		return nil, err
	}
	return listed(c.client.Runs(ctx, filter))
}

// runFilter reads which runs an address names.
func runFilter(c *call, most int64) (scheduler.RunFilter, error) {
	query := c.r.URL.Query()
	filter := scheduler.RunFilter{JobName: query.Get("job"), Status: jobs.Status(query.Get("status"))}
	if err := checkStatus(filter.Status); err != nil {
		return filter, err
	}
	limit, err := c.number("limit", most, 0)
	if err != nil {
		return filter, err
	}
	filter.Limit = int(limit)
	if filter.BackfillID, err = c.number("backfill", idMax, 0); err != nil {
		return filter, err
	}
	filter.Before, err = c.number("before", idMax, 0)
	return filter, err
}

const (
	idMax = 1<<63 - 1

	// limitMax is how much a list holds at most.
	limitMax = 1000
)

func checkStatus(status jobs.Status) error {
	if status == "" || slices.Contains(jobs.Statuses(), status) {
		return nil
	}
	return &badRequestError{fmt.Errorf("status is %q, must be one of: %v", status, jobs.Statuses())}
}

func getRun(ctx context.Context, c *call) (any, error) { return byID(ctx, c, c.client.Run) }

func getIncidents(ctx context.Context, c *call) (any, error) {
	since := time.Now().AddDate(0, 0, -1)
	if text := c.r.URL.Query().Get("since"); text != "" {
		var err error
		if since, err = time.Parse(time.RFC3339, text); err != nil {
			return nil, &badRequestError{fmt.Errorf("since is %q, must be a time such as 2026-03-29T14:30:00Z", text)}
		}
	}
	limit, err := c.number("limit", limitMax, 0)
	if err != nil {
		return nil, err
	}
	return listed(c.client.Incidents(ctx, c.r.URL.Query().Get("job"), since, int(limit)))
}
