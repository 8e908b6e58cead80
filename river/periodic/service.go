package periodic

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/systempromptio/scheduler/internal/metrics"
	"github.com/systempromptio/scheduler/internal/tracing"
	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/cron"
	"github.com/systempromptio/scheduler/river/leader"
	"github.com/systempromptio/scheduler/sql"
)

// ownNotification is longer than a leader leads.
const ownNotification = 365 * 24 * time.Hour

// chunk is the number of ticks, or requested runs, decided in one transaction:
// enough for COPY to pay, few enough to stay far below the heartbeat's deadline.
const chunk = 500

// Config configures a [Service].
type Config struct {
	// Statements are the statements for the scheduler's schema. Required.
	Statements *sql.Statements

	// Declarations are the registered jobs as this deployment configures them.
	Declarations []Declaration

	// BootstrapJobs names the jobs that are run once when a fleet starts.
	BootstrapJobs []string

	// Disabled enqueues nothing, whatever is due or asked for. The zero value
	// enqueues.
	Disabled bool

	// Tracer makes the spans of what is enqueued. Nil makes none.
	Tracer *tracing.Tracer

	// Metrics is told what is decided. Nil is told nothing.
	Metrics *metrics.Metrics

	// Logger is required.
	Logger *slog.Logger
}

// Service is what a leader does in its term.
type Service struct {
	config       Config
	definitions  map[string]jobs.Definition
	declarations []sql.Declaration
	inserter     *river.Client[pgx.Tx]
	driver       *riverpgxv5.Driver
	schedules    map[scheduleKey]parsedSchedule
}

type scheduleKey struct{ job, text, timeZone string }

type parsedSchedule struct {
	schedule *cron.Schedule
	err      error
}

// New checks the configuration. It does not connect.
func New(config Config) (*Service, error) {
	if config.Statements == nil || config.Logger == nil {
		return nil, errors.New("periodic: Statements and Logger are required")
	}
	s := &Service{
		config:      config,
		definitions: make(map[string]jobs.Definition, len(config.Declarations)),
		driver:      riverpgxv5.New(nil),
		schedules:   make(map[scheduleKey]parsedSchedule),
	}
	for _, declaration := range config.Declarations {
		statement, err := declaration.statement()
		if err != nil {
			return nil, err
		}
		s.declarations = append(s.declarations, statement)
		s.definitions[declaration.Definition.Name] = declaration.Definition
	}
	for _, name := range config.BootstrapJobs {
		if _, ok := s.definitions[name]; !ok {
			return nil, fmt.Errorf("bootstrap job %q: %w", name, jobs.ErrUnknownJob)
		}
	}
	var err error
	s.inserter, err = river.NewClient(s.driver, &river.Config{
		Schema: config.Statements.Schema(), Logger: config.Logger,
		// The workers are woken by our own notification. River sends one of its own in
		// each cooldown, which is a round trip: here in the rehearsal, if at all.
		FetchCooldown: ownNotification, FetchPollInterval: ownNotification,
	})
	if err != nil {
		return nil, fmt.Errorf("periodic: River's inserting client: %w", err)
	}
	return s, nil
}

// lead is the state of one term.
type lead struct {
	*Service
	term     *leader.Term
	declared bool
	verified bool
	// setBack is by how much the database's clock was set back, as long as the waits
	// of River's jobs do not know it.
	setBack time.Duration
	// missing holds the replicas that have runs and no presence lock, since when.
	missing map[string]time.Duration
	// nextPrune and lastBeat, too, are on the term's own clock.
	nextPrune time.Duration
	lastBeat  time.Duration
	failing   bool
	// decided is what the transaction under way has decided, for the metrics.
	decided []metrics.Decided
	// enqueued are the spans of what it enqueues.
	enqueued tracing.Enqueued
}

// Lead does the leader's work until ctx ends or the term is lost. Errors that
// leave the session alive, such as a lock that somebody else holds, are logged
// and tried again; no tick is lost by them.
func (s *Service) Lead(ctx context.Context, term *leader.Term) error {
	l := &lead{Service: s, term: term, missing: make(map[string]time.Duration), nextPrune: pruneInterval}
	pulse, err := l.first(ctx)
	for ; ctx.Err() == nil; pulse, err = l.beat(ctx) {
		acted, declared := false, l.declared
		if err == nil {
			acted, err = l.act(ctx, pulse)
		}
		if err != nil && (ctx.Err() != nil || term.Lost()) {
			return err
		}
		l.say(ctx, err)
		switch {
		case err != nil:
			l.config.Metrics.LeaderFailed()
		case declared:
			l.config.Metrics.Evaluated(len(pulse.Alive))
		}
		if acted && err == nil {
			// What was done may have changed what is next.
			continue
		}
		if _, err := term.Wait(ctx, l.pause(pulse, err != nil)); err != nil {
			return err
		}
	}
	return context.Cause(ctx)
}

// say tells of a failure once, and of its end.
func (l *lead) say(ctx context.Context, err error) {
	switch {
	case err == nil && l.failing:
		l.config.Logger.InfoContext(ctx, "the leader's work succeeds again")
	case err != nil && !l.failing:
		l.config.Logger.ErrorContext(ctx, "the leader's work failed; trying again, no tick is lost", slog.Any("error", err))
	}
	l.failing = err != nil
}

// clockStep is how far the database's clock must be from where it was expected
// for it to count as set: more than a slow answer explains.
const clockStep = 2 * leader.HeartbeatTimeoutDefault

// first is a term's first beat. It comes with the question whether the jobs have to
// be declared: as a rule the leader before has declared the same.
func (l *lead) first(ctx context.Context) (pulse sql.Pulse, err error) {
	err = l.term.Do(ctx, func(ctx context.Context, session leader.Session) error {
		var settled bool
		settled, pulse, err = l.config.Statements.FirstPulse(ctx, session, l.declarations)
		l.declared = settled && !l.config.Disabled
		return err
	})
	if err == nil {
		l.term.Saw(pulse.Now)
		l.lastBeat = l.term.Elapsed()
	}
	return pulse, err
}

func (l *lead) beat(ctx context.Context) (sql.Pulse, error) {
	expected := l.term.Now()
	pulse, err := l.term.Heartbeat(ctx)
	l.lastBeat = l.term.Elapsed()
	if err != nil {
		return pulse, err
	}
	switch step := pulse.Now.Sub(expected); {
	case step > clockStep:
		l.config.Logger.WarnContext(ctx, "the database's clock was set forward; ticks that it passed are missed, or made up for by the jobs' catch-up policies",
			slog.Duration("by", step), slog.Time("now", pulse.Now))
	case step < -clockStep:
		l.config.Logger.WarnContext(ctx, "the database's clock was set back; ticks that are decided are not run again, so a job goes on at its next_run",
			slog.Duration("by", -step), slog.Time("now", pulse.Now))
		l.setBack -= step
	}
	return pulse, nil
}

// pause is the time until the next beat: at the latest when the heartbeat is due,
// earlier if a tick is.
func (l *lead) pause(pulse sql.Pulse, failed bool) time.Duration {
	pause := leader.HeartbeatIntervalDefault - (l.term.Elapsed() - l.lastBeat)
	if pulse.Nearest != nil && !failed {
		if untilTick := pulse.Nearest.Sub(l.term.Now()); untilTick > 0 {
			pause = min(pause, untilTick)
		}
	}
	for _, since := range l.missing {
		pause = min(pause, max(since+deadAfter-l.term.Elapsed(), deadRetry))
	}
	return max(pause, time.Millisecond)
}

// act does what the pulse says is to be done, and says whether it did anything
// that changes what is next. One step that fails does not hold up the others.
func (l *lead) act(ctx context.Context, pulse sql.Pulse) (acted bool, err error) {
	steps := []struct {
		due bool
		do  func(ctx context.Context) (bool, error)
	}{
		{pulse.Undecided || pulse.Unplanned && !l.config.Disabled, l.plan},
		{pulse.Nearest != nil && !pulse.Nearest.After(pulse.Now) && !l.config.Disabled, l.decideDue},
		{pulse.Requested, l.decideRequested},
		{pulse.Backfill, l.decideBackfill},
		{pulse.Waiting, l.decideWaiting},
		{pulse.RolloutOver, l.endRollouts},
	}
	if !l.declared {
		// Until what is in force has been written, nothing is decided: an older
		// deployment's word would be followed.
		return l.declare(ctx)
	}
	var errs []error
	for _, step := range steps {
		if !step.due {
			continue
		}
		did, err := step.do(ctx)
		if err != nil {
			if l.term.Lost() {
				return false, err
			}
			errs = append(errs, err)
		}
		acted = acted || did
	}
	if !l.verified && !acted && len(errs) == 0 {
		// When there is nothing that is more urgent.
		if err := l.verifyPlans(ctx); err != nil {
			errs = append(errs, err)
		} else {
			l.verified = true
		}
	}
	return acted, errors.Join(append(errs, l.maintain(ctx, pulse))...)
}

// endRollouts tells of the jobs whose scheduled runs are real from now on. It changes
// nothing that is next.
func (l *lead) endRollouts(ctx context.Context) (bool, error) {
	var ended []sql.EndedRollout
	err := l.term.Tx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		var err error
		ended, err = l.config.Statements.EndRollouts(ctx, tx)
		return err
	})
	if err != nil {
		return false, err
	}
	for _, rollout := range ended {
		attributes := []any{slog.String("job", rollout.JobName)}
		switch {
		case rollout.EndedAt == nil:
			attributes = append(attributes, slog.String("why", "it is declared without dry_run_for"))
		case rollout.EndedBy != "":
			attributes = append(attributes, slog.String("why", "ended by "+rollout.EndedBy), slog.Time("ended_at", *rollout.EndedAt))
		default:
			attributes = append(attributes, slog.String("why", "its time is over"), slog.Time("ended_at", *rollout.EndedAt))
		}
		l.config.Logger.InfoContext(ctx, "a job's rollout is over: its scheduled runs are not dry runs any more", attributes...)
	}
	return false, nil
}

// declare writes the registry and the configuration in force.
func (l *lead) declare(ctx context.Context) (declared bool, err error) {
	var gone []string
	write := func(ctx context.Context, db sql.Batcher) (err error) {
		gone, err = l.config.Statements.DeclareJobs(ctx, db, l.declarations, l.config.BootstrapJobs, l.config.Disabled)
		return err
	}
	if len(l.declarations) <= sql.DeclareAtOnce {
		err = l.term.Do(ctx, func(ctx context.Context, session leader.Session) error { return write(ctx, session) })
	} else {
		err = l.term.Tx(ctx, func(ctx context.Context, tx pgx.Tx) error { return write(ctx, tx) })
	}
	if err != nil {
		return false, err
	}
	l.declared = true
	if len(gone) > 0 {
		l.config.Logger.WarnContext(ctx, "jobs are not registered here any more; their history is kept, they are not enqueued", slog.Any("jobs", gone))
	}
	return true, nil
}
