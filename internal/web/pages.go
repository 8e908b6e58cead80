package web

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/retention"
)

//go:embed templates static
var files embed.FS

// page is what every page has.
type page struct {
	// prefix is in front of each address.
	prefix                  string
	Title, Section, Version string
	ReadOnly, River         bool
	// Analytics: there are evaluations to show.
	Analytics bool
	// Live is the address of the page's changes; empty for none.
	Live string
}

func (s *Server) page(ctx context.Context, title, section, live string) page {
	if live != "" {
		live = s.site.prefix + live
	}
	return page{
		prefix: s.site.prefix, Title: title, Section: section, Version: s.config.Version, ReadOnly: s.config.ReadOnly, River: s.config.RiverFunc != nil, Live: live,
		Analytics: s.hasAnalytics(ctx),
	}
}

// addPages adds the pages and what their forms send.
func (s *Server) addPages(mux *http.ServeMux) {
	static, err := fs.Sub(files, "static")
	if err != nil {
		panic(err) // the folder is in the program
	}
	mux.Handle("GET /static/", http.StripPrefix("/static/", http.FileServerFS(static)))
	mux.HandleFunc("GET /{$}", s.html(s.overviewPage))
	mux.HandleFunc("GET /jobs/{name}", s.html(s.jobPage))
	mux.HandleFunc("GET /jobs/{name}/explain", s.html(s.explainPage))
	mux.HandleFunc("GET /runs", s.html(s.runsPage))
	mux.HandleFunc("GET /runs/{id}", s.html(s.runPage))
	mux.HandleFunc("GET /agenda", s.html(s.agendaPage))
	mux.HandleFunc("GET /analytics", s.html(s.analyticsPage))
	mux.HandleFunc("GET /live/overview", s.live(s.overviewParts, func(r *http.Request) map[string]uint64 { return s.overview.shown(r.URL.Query().Get("shown")) }))
	mux.HandleFunc("GET /live/jobs/{name}", s.live(s.jobParts, shownBy))
	mux.HandleFunc("GET /live/runs/{id}", s.live(s.runParts, shownBy))
	for action, do := range s.forms() {
		mux.HandleFunc("POST "+action, s.form(do))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		s.site.writeErrorPage(w, &refusal{http.StatusNotFound, "not_found", "There is no such page."})
	})
}

// rendering makes a page: the template's name and its data.
type rendering func(ctx context.Context, c *call) (name string, data any, err error)

// html serves a page.
func (s *Server) html(render rendering) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), explainTimeout)
		defer cancel()
		client, err := s.source.get(ctx)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		name, data, err := render(ctx, &call{client: client, server: s, r: r})
		if err != nil {
			s.fail(w, r, err)
			return
		}
		s.site.writePage(w, http.StatusOK, name, data)
	}
}

// overviewData is what the overview shows.
type overviewData struct {
	page
	fleetView

	// WorkingRuns and Incidents are for the parts, and Fleet to Trouble are those.
	WorkingRuns             []runView
	Incidents               []incidentView
	Fleet, Working, Trouble template.HTML
	Rows                    []template.HTML
	// Query is what was looked for, and Found says how many jobs were found.
	Query, Found string
	// Known: there are jobs, whether or not any was found.
	Known bool
}

func (s *Server) overviewPage(ctx context.Context, c *call) (string, any, error) {
	snapshot, err := s.overview.get(ctx)
	if err != nil {
		return "", nil, err
	}
	query := strings.TrimSpace(c.r.URL.Query().Get("q"))
	data := overviewData{
		page: s.page(ctx, "Overview", "overview", fmt.Sprintf("/live/overview?shown=%d", snapshot.serial)), Query: query, Known: len(snapshot.rows) > 0,
		Fleet: snapshot.parts[0].html, Working: snapshot.parts[1].html, Trouble: snapshot.parts[2].html,
	}
	for i, part := range snapshot.parts[3:] {
		if strings.Contains(snapshot.rows[i].Find, strings.ToLower(query)) {
			data.Rows = append(data.Rows, part.html)
		}
	}
	data.Found = counted(int64(len(data.Rows)), "job")
	return "overview.html", data, nil
}

// jobData is what a job's page shows.
type jobData struct {
	page
	Job         jobView
	Bars        []barView
	BarWords    string
	Latest      []runView
	DayRows     []scheduler.DayRows
	DaysWide    template.HTML
	Parameters  []parameterView
	Preview     *nextView
	PreviewText string
	Explainable bool
	// Open names what is unfolded: run or reschedule.
	Open      string
	Incidents []incidentView
	parts     []part
}

func (s *Server) jobPage(ctx context.Context, c *call) (string, any, error) {
	data, job, now, err := s.readJob(ctx, c)
	if err != nil {
		return "", nil, err
	}
	if data.Parameters, err = parameterViews(job); err != nil {
		return "", nil, err
	}
	data.PreviewText = job.Schedule
	if c.r.URL.Query().Has("run") {
		data.Open = "run"
	}
	if text := strings.TrimSpace(c.r.URL.Query().Get("schedule")); text != "" {
		data.PreviewText, data.Open = text, "reschedule"
	}
	data.Preview = newNextView(job, data.PreviewText, now)
	_, err = s.explainable(job.JobName)
	data.Explainable = err == nil
	return "job.html", data, nil
}

// readJob reads what changes on a job's page.
func (s *Server) readJob(ctx context.Context, c *call) (data jobData, job scheduler.Job, now time.Time, err error) {
	name := c.name()
	if job, err = c.client.Job(ctx, name); err != nil {
		return data, job, now, err
	}
	if now, err = c.client.Now(ctx); err != nil {
		return data, job, now, err
	}
	histories, err := c.client.History(ctx, name, historyCount)
	if err != nil {
		return data, job, now, err
	}
	state, err := c.client.State(ctx)
	if err != nil {
		return data, job, now, err
	}
	days, err := c.client.RowsByDay(ctx, name, now.AddDate(0, 0, -historyDays))
	if err != nil {
		return data, job, now, err
	}
	incidents, err := c.client.Incidents(ctx, name, now.Add(-incidentsSince), incidentsMax)
	if err != nil {
		return data, job, now, err
	}
	data = jobData{
		page: s.page(ctx, name, "job", "/live/jobs/"+url.PathEscape(name)), Job: newJobView(job, state), DayRows: days,
		DaysWide: dayChart(days, now), Incidents: incidentViews(incidents),
	}
	if len(histories) > 0 {
		data.Bars, data.BarWords = barViews(histories[0]), historyWords(histories[0])
	}
	latest, err := c.client.Runs(ctx, scheduler.RunFilter{JobName: name, Limit: latestCount})
	if err != nil {
		return data, job, now, err
	}
	data.Latest = runViews(latest)
	data.parts, err = s.site.render([]fragment{{"job-facts", "job-facts", data.Job}, {"job-runs", "job-runs", data}, {"incidents", "incidents", data}})
	data.Live += "?" + shownOf(data.parts)
	return data, job, now, err
}

func (s *Server) explainPage(ctx context.Context, c *call) (string, any, error) {
	job, err := s.explainable(c.name())
	if err != nil {
		return "", nil, err
	}
	explanations, err := s.explain(ctx, c.client, job, nil)
	return "explain.html", struct {
		page
		Name         string
		Explanations []retention.Explanation
	}{s.page(ctx, "What "+c.name()+" would do", "job", ""), c.name(), explanations}, err
}

const (
	// runsPageSize is how many runs a page of the list shows, latestCount how many a job's
	// page does.
	runsPageSize = 100
	latestCount  = 10
)

func (s *Server) runsPage(ctx context.Context, c *call) (string, any, error) {
	filter, err := runFilter(c, limitMax)
	if err != nil {
		return "", nil, err
	}
	filter.Limit = runsPageSize
	runs, err := c.client.Runs(ctx, filter)
	if err != nil {
		return "", nil, err
	}
	data := struct {
		page
		Filter   scheduler.RunFilter
		Names    []string
		Statuses []jobs.Status
		Runs     []runView
		Older    string
	}{page: s.page(ctx, "Runs", "runs", ""), Filter: filter, Statuses: jobs.Statuses(), Runs: runViews(runs)}
	snapshot, err := s.overview.get(ctx)
	if err != nil {
		return "", nil, err
	}
	for _, job := range snapshot.jobs {
		data.Names = append(data.Names, job.JobName)
	}
	if len(runs) == runsPageSize {
		query := c.r.URL.Query()
		query.Set("before", fmt.Sprint(runs[len(runs)-1].ID))
		data.Older = s.site.prefix + "/runs?" + query.Encode()
	}
	return "runs.html", data, nil
}

// runData is what a run's page shows.
type runData struct {
	page

	Run   runView
	parts []part
}

func (s *Server) runPage(ctx context.Context, c *call) (string, any, error) {
	data, err := s.readRun(ctx, c)
	return "run.html", data, err
}

// readRun reads what a run's page shows.
func (s *Server) readRun(ctx context.Context, c *call) (runData, error) {
	run, err := byID(ctx, c, c.client.Run)
	if err != nil {
		return runData{}, err
	}
	log, err := c.client.Log(ctx, run.ID)
	if err != nil {
		return runData{}, err
	}
	data := runData{page: s.page(ctx, fmt.Sprintf("Run %d of %s", run.ID, run.JobName), "runs", ""), Run: newRunView(run)}
	data.Run.Log = logViews(log)
	if s.config.RiverFunc != nil && run.RiverJobID != nil {
		data.Run.RiverURL = fmt.Sprintf("%s/jobs/%d", s.site.prefix+riverPath, *run.RiverJobID)
	}
	data.parts, err = s.site.render([]fragment{{"run-facts", "run-facts", data}, {"run-cancel", "run-cancel", data}, {"run-rest", "run-rest", data}})
	if !data.Run.Ended {
		data.Live = s.site.prefix + fmt.Sprintf("/live/runs/%d?%s", run.ID, shownOf(data.parts))
	}
	return data, err
}

func (s *Server) agendaPage(ctx context.Context, c *call) (string, any, error) {
	entries, err := c.client.Agenda(ctx, 24*time.Hour)
	return "agenda.html", struct {
		page
		Entries []scheduler.AgendaEntry
	}{s.page(ctx, "Agenda", "agenda", ""), entries}, err
}

// forms are what the pages' forms do; each says where to go afterwards.
func (s *Server) forms() map[string]func(ctx context.Context, c *call) (string, error) {
	toJob := func(c *call) string { return "/jobs/" + url.PathEscape(c.name()) }
	return map[string]func(ctx context.Context, c *call) (string, error){
		"/jobs/{name}/run": func(ctx context.Context, c *call) (string, error) {
			id, err := formRun(ctx, c)
			return fmt.Sprintf("/runs/%d", id), err
		},
		"/jobs/{name}/pause": func(ctx context.Context, c *call) (string, error) {
			return toJob(c), c.client.Pause(ctx, c.name(), c.r.PostForm.Get("reason"), c.r.PostForm.Get("cancel_running") == "true")
		},
		"/jobs/{name}/resume": func(ctx context.Context, c *call) (string, error) {
			return toJob(c), c.client.Resume(ctx, c.name())
		},
		"/jobs/{name}/reschedule": func(ctx context.Context, c *call) (string, error) {
			return toJob(c), c.client.Reschedule(ctx, c.name(), strings.TrimSpace(c.r.PostForm.Get("schedule")))
		},
		"/jobs/{name}/end-rollout": func(ctx context.Context, c *call) (string, error) {
			return toJob(c), c.client.EndRollout(ctx, c.name())
		},
		"/runs/{id}/cancel": func(ctx context.Context, c *call) (string, error) {
			id, err := c.id()
			if err != nil {
				return "", err
			}
			return fmt.Sprintf("/runs/%d", id), c.client.Cancel(ctx, id, c.r.PostForm.Get("reason"))
		},
	}
}

// form serves what a form sends.
func (s *Server) form(do func(ctx context.Context, c *call) (string, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
		defer cancel()
		if err := r.ParseForm(); err != nil {
			if tooLarge := new(http.MaxBytesError); !errors.As(err, &tooLarge) {
				err = &badRequestError{fmt.Errorf("the form: %w", err)}
			}
			s.fail(w, r, err)
			return
		}
		client, err := s.source.get(ctx)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		where, err := do(ctx, &call{client: client, server: s, r: r})
		if err != nil {
			s.fail(w, r, err)
			return
		}
		http.Redirect(w, r, s.site.prefix+where, http.StatusSeeOther)
	}
}

// formRun asks for a run with what was filled in.
func formRun(ctx context.Context, c *call) (int64, error) {
	job, err := c.client.Job(ctx, c.name())
	if err != nil {
		return 0, err
	}
	values, err := typedParameters(job, c.r.PostForm)
	if err != nil {
		return 0, err
	}
	var dryRun *bool
	switch mode := c.r.PostForm.Get("mode"); mode {
	case "dry":
		yes := true
		dryRun = &yes
	case "real":
	default:
		return 0, &badRequestError{fmt.Errorf("mode is %q, must be dry or real", mode)}
	}
	return c.client.RunNow(ctx, job.JobName, values, dryRun)
}

// typedParameters reads what was typed for a job's parameters, as "p." and the name. One
// that is empty is as it is declared; one that the job does not have is refused.
func typedParameters(job scheduler.Job, typed url.Values) (map[string]any, error) {
	specs, err := scheduler.ParameterSpecs(job)
	if err != nil {
		return nil, err
	}
	types := make(map[string]jobs.ParameterType, len(specs))
	for _, spec := range specs {
		types[spec.Name] = spec.Type
	}
	values := make(map[string]any)
	for key := range typed {
		name, ok := strings.CutPrefix(key, "p.")
		text := strings.TrimSpace(typed.Get(key))
		if !ok || text == "" {
			continue
		}
		if types[name] == "" {
			return nil, &jobs.ParameterError{Job: job.JobName, Parameter: name, Reason: "is unknown"}
		}
		value, err := types[name].Parse(text)
		if err != nil {
			return nil, &jobs.ParameterError{Job: job.JobName, Parameter: name, Reason: err.Error()}
		}
		values[name] = value
	}
	return values, nil
}
