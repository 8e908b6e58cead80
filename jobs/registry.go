package jobs

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/systempromptio/scheduler/jobs/cron"
)

var nameRE = regexp.MustCompile(`^[a-z][a-z0-9_]{0,99}$`)

// Registry is a set of jobs, by name. The zero value is empty and ready to use.
// It is safe for concurrent use.
type Registry struct {
	mu   sync.RWMutex
	jobs map[string]Job
}

// Add registers jobs, all of them or, if one is refused, none. The error joins
// one error for each refused job, wrapping [ErrInvalidJob], [ErrDuplicateJob],
// [ErrInvalidSchedule] or [ErrInvalidParameter].
func (r *Registry) Add(jobs ...Job) error {
	r.mu.Lock()
	defer r.mu.Unlock()

	added := make(map[string]Job, len(jobs))
	var errs []error
	for _, job := range jobs {
		if err := Validate(job); err != nil {
			errs = append(errs, err)
			continue
		}
		name := job.Definition().Name
		if r.jobs[name] != nil || added[name] != nil {
			errs = append(errs, fmt.Errorf("job %q: %w: each name may be registered once; rename one of the two", name, ErrDuplicateJob))
			continue
		}
		added[name] = job
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	if r.jobs == nil {
		r.jobs = make(map[string]Job, len(added))
	}
	maps.Copy(r.jobs, added)
	return nil
}

// Clone returns a registry with the same jobs, to which others may be added.
func (r *Registry) Clone() *Registry {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return &Registry{jobs: maps.Clone(r.jobs)}
}

// Get returns the job of that name. The error wraps [ErrUnknownJob] and lists
// the names that exist.
func (r *Registry) Get(name string) (Job, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	job, ok := r.jobs[name]
	if !ok {
		return nil, fmt.Errorf("job %q: %w; registered are: %s", name, ErrUnknownJob, strings.Join(r.names(), ", "))
	}
	return job, nil
}

// List returns all jobs, by name.
func (r *Registry) List() []Job {
	r.mu.RLock()
	defer r.mu.RUnlock()
	list := make([]Job, 0, len(r.jobs))
	for _, name := range r.names() {
		list = append(list, r.jobs[name])
	}
	return list
}

func (r *Registry) names() []string {
	names := make([]string, 0, len(r.jobs))
	for name := range r.jobs {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Validate checks a job against the contract, as [Registry.Add] does.
func Validate(job Job) error {
	if job == nil {
		return fmt.Errorf("%w: nil", ErrInvalidJob)
	}
	d := job.Definition()
	if d.Name == "" {
		return fmt.Errorf("%w: empty name (%T)", ErrInvalidJob, job)
	}
	if err := CheckName(d.Name); err != nil {
		return err
	}
	_, isTx := job.(TxJob)
	_, isBatch := job.(BatchJob)
	if isTx == isBatch {
		return fmt.Errorf("job %q: %w: %T must implement exactly one of TxJob and BatchJob", d.Name, ErrInvalidJob, job)
	}
	if d.Timeout < 0 || d.MaxAttempts < 0 {
		return fmt.Errorf("job %q: %w: Timeout and MaxAttempts cannot be negative", d.Name, ErrInvalidJob)
	}
	for i, need := range d.Needs {
		if need.check == nil {
			return fmt.Errorf("job %q: %w: Needs[%d] is empty; make it with jobs.Needs", d.Name, ErrInvalidJob, i)
		}
	}
	if err := validatePolicies(d); err != nil {
		return err
	}
	if err := CheckSchedule(d.Name, d.Schedule, d.TimeZone); err != nil {
		return err
	}
	return validateParameters(d)
}

func validatePolicies(d Definition) error {
	for field, err := range map[string]error{
		"Overlap": d.Overlap.Check(), "CatchUp": d.CatchUp.Check(), "CatchUpLimit": CheckCatchUpLimit(d.CatchUpLimit),
	} {
		if err != nil {
			return fmt.Errorf("job %q: %w: %s %w", d.Name, ErrInvalidJob, field, err)
		}
	}
	if d.CatchUpMaxAge < 0 {
		return fmt.Errorf("job %q: %w: CatchUpMaxAge cannot be negative", d.Name, ErrInvalidJob)
	}
	return nil
}

// CheckName says whether a job can have a name. The error wraps [ErrInvalidJob].
func CheckName(name string) error {
	if !nameRE.MatchString(name) {
		return fmt.Errorf("job %q: %w: a name is lower-case letters, digits and underscores, starts with a letter and has at most 100 characters", name, ErrInvalidJob)
	}
	return nil
}

// CheckSchedule reads cron text and a time zone (empty means UTC) for the named
// job. The error wraps [ErrInvalidSchedule] and says what is wrong.
func CheckSchedule(job, schedule, timeZone string) error {
	_, err := ParseSchedule(job, schedule, timeZone)
	return err
}

// ParseSchedule is [CheckSchedule] that also returns the schedule.
func ParseSchedule(job, schedule, timeZone string) (*cron.Schedule, error) {
	location, err := cron.LoadLocation(timeZone)
	if err != nil {
		return nil, fmt.Errorf("job %q: %w: %w", job, ErrInvalidSchedule, err)
	}
	parsed, err := cron.Parse(schedule, cron.Options{Location: location, Name: job})
	if err != nil {
		return nil, fmt.Errorf("job %q: %w: %w", job, ErrInvalidSchedule, err)
	}
	return parsed, nil
}

var defaultRegistry Registry //nolint:gochecknoglobals // what a blank import fills, as database/sql's drivers do

// DefaultRegistry is the registry that [Register] fills.
func DefaultRegistry() *Registry { return &defaultRegistry }

// Register adds jobs to the default registry. Call it from a package's init, so
// that a blank import of the package is all it takes to have its jobs
// scheduled. It panics if a job is refused: that is a mistake in the program.
func Register(jobs ...Job) {
	if err := defaultRegistry.Add(jobs...); err != nil {
		panic(err)
	}
}
