package web

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/systempromptio/scheduler"
)

const (
	// overviewInterval is how old the overview may be; where it is dear to read, it is
	// read less often, so that it takes no more than a tenth of the time.
	overviewInterval = time.Second
	overviewShare    = 10

	// overviewMax is how old it may be at most, and slowMax what changes slowly.
	overviewMax = 10 * time.Second
	slowMax     = 2 * time.Minute

	// slowInterval is how old what changes slowly may be: the rows by day, and what did
	// not go as it should.
	slowInterval = 15 * time.Second

	// incidentsSince and incidentsMax bound what did not go as it should.
	incidentsSince = 24 * time.Hour
	incidentsMax   = 20

	// workingMax is how many runs that have not ended are shown.
	workingMax = 50
)

// snapshot is what the overview shows, as it was at a time.
type snapshot struct {
	now       time.Time
	leader    *scheduler.Leader
	replicas  []scheduler.Replica
	state     scheduler.State
	jobs      []scheduler.Job
	history   map[string]scheduler.History
	days      map[string][]scheduler.DayRows
	working   []scheduler.Run
	incidents []scheduler.Incident

	// serial is the snapshot's number, rows its jobs as views, and parts what of the page
	// changes: made once for all who look.
	serial uint64
	rows   []jobView
	parts  []part
}

// overview reads snapshots, one for all who look.
type overview struct {
	site   *site
	source *source
	fast   *shared[*snapshot]
	slow   *shared[slowPart]

	mu sync.Mutex
	// serial counts snapshots; given is what the latest of them held, for the pages that
	// were made of them.
	serial uint64
	given  map[uint64]map[string]uint64
}

// givenMax is how many snapshots are known after they were shown: a page asks for its
// changes as soon as it is loaded.
const givenMax = 30

// slowPart is what a snapshot takes from an older one.
type slowPart struct {
	days      map[string][]scheduler.DayRows
	incidents []scheduler.Incident
}

func newOverview(site *site, source *source) *overview {
	return &overview{site: site, source: source, fast: newShared[*snapshot](), slow: newShared[slowPart](), given: make(map[uint64]map[string]uint64)}
}

// get gives the newest snapshot.
func (o *overview) get(ctx context.Context) (*snapshot, error) {
	return o.fast.get(ctx, func(ctx context.Context) (*snapshot, time.Duration, error) {
		start := time.Now()
		read, err := o.read(ctx)
		return read, min(max(overviewInterval, overviewShare*time.Since(start)), overviewMax), err
	})
}

func (o *overview) read(ctx context.Context) (*snapshot, error) {
	client, err := o.source.get(ctx)
	if err != nil {
		return nil, err
	}
	var s snapshot
	if s.now, err = client.Now(ctx); err != nil {
		return nil, err
	}
	if s.leader, err = client.Leader(ctx); err != nil {
		return nil, err
	}
	if s.replicas, err = client.Replicas(ctx); err != nil {
		return nil, err
	}
	if s.state, err = client.State(ctx); err != nil {
		return nil, err
	}
	if s.jobs, err = client.Jobs(ctx); err != nil {
		return nil, err
	}
	if s.working, err = client.Working(ctx, workingMax); err != nil {
		return nil, err
	}
	histories, err := client.History(ctx, "", historyCount)
	if err != nil {
		return nil, err
	}
	s.history = make(map[string]scheduler.History, len(histories))
	for _, h := range histories {
		s.history[h.JobName] = h
	}
	slow, err := o.slow.get(ctx, func(ctx context.Context) (slowPart, time.Duration, error) {
		start := time.Now()
		part, err := readSlowPart(ctx, client, s.now)
		return part, min(max(slowInterval, overviewShare*time.Since(start)), slowMax), err
	})
	if err != nil {
		return nil, err
	}
	s.days, s.incidents = slow.days, slow.incidents
	return &s, o.render(&s)
}

// render makes the parts of the page, and remembers what they are.
func (o *overview) render(s *snapshot) (err error) {
	s.rows = jobViews(s)
	data := overviewData{fleetView: newFleetView(s), WorkingRuns: runViews(s.working), Incidents: incidentViews(s.incidents)}
	fragments := []fragment{{"fleet", "fleet", data}, {"working", "working", data}, {"incidents", "incidents", data}}
	for _, job := range s.rows {
		fragments = append(fragments, fragment{"job-row", "job-" + job.Name, job})
	}
	if s.parts, err = o.site.render(fragments); err != nil {
		return err
	}
	hashes := make(map[string]uint64, len(s.parts))
	for _, part := range s.parts {
		hashes[part.id] = part.hash
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.serial++
	s.serial = o.serial
	o.given[s.serial] = hashes
	delete(o.given, s.serial-givenMax)
	return nil
}

// shown is what a page holds that was made of a snapshot, by element; nothing if that is
// too long ago.
func (o *overview) shown(serial string) map[string]uint64 {
	n, err := strconv.ParseUint(serial, 10, 64)
	if err != nil {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.given[n]
}

func readSlowPart(ctx context.Context, client *scheduler.Client, now time.Time) (part slowPart, err error) {
	days, err := client.RowsByDay(ctx, "", now.AddDate(0, 0, -historyDays))
	if err != nil {
		return part, err
	}
	part.days = make(map[string][]scheduler.DayRows)
	for _, day := range days {
		part.days[day.JobName] = append(part.days[day.JobName], day)
	}
	part.incidents, err = client.Incidents(ctx, "", now.Add(-incidentsSince), incidentsMax)
	return part, err
}
