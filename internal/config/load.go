package config

import (
	"fmt"
	"log/slog"
	"slices"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs"
)

const (
	// VariableFile names the file if no flag does.
	VariableFile = "SCHEDULER_CONFIG"

	// VariableDatabaseURL stands for database_url, as other programs have it. The
	// field's own variable wins over it.
	VariableDatabaseURL = "DATABASE_URL"
)

// Source is what a configuration is read from.
type Source struct {
	// Path is the file that a flag names; empty if none does.
	Path string

	// LookupEnvFunc gives an environment variable. A variable that is set to nothing
	// counts as not set. Nil means that none is set.
	LookupEnvFunc func(name string) (value string, ok bool)

	// Flags holds the texts of the flags that were given, by Field.Name.
	Flags map[string]string

	// Registry holds the jobs that may be configured. Nil means
	// jobs.DefaultRegistry().
	Registry *jobs.Registry
}

// Load reads a configuration and checks it, as scheduler.New does, but for what jobs need of the program. It connects to
// nothing. The error is an [Errors].
func Load(source Source) (Settings, error) {
	l := loader{source: source}
	l.file = file{
		settings: Settings{LogLevel: slog.LevelInfo, LogFormat: LogFormatText, enabled: true},
		origins:  make(map[string]Origin),
	}
	l.readFile()
	l.readVariables()
	l.readFlags()
	settings := l.settings()
	if err := settings.Scheduler.Validate(); err != nil {
		l.diagnose(settings, err)
	}
	return settings, l.errs.err()
}

type loader struct {
	source Source
	file   file
	errs   Errors
}

func (l *loader) variable(name string) string {
	if l.source.LookupEnvFunc == nil {
		return ""
	}
	value, _ := l.source.LookupEnvFunc(name)
	return value
}

func (l *loader) refuse(at Origin, err error) {
	l.errs = append(l.errs, &Error{Origin: at, Err: err})
}

func (l *loader) readFile() {
	path := l.source.Path
	named := Origin{Flag: "config"}
	if path == "" {
		path, named = l.variable(VariableFile), Origin{Variable: VariableFile}
	}
	if path == "" {
		return
	}
	content, err := readFile(path)
	if err != nil {
		l.refuse(named, fmt.Errorf("%s: %w", path, err))
		return
	}
	d := &document{path: path, lines: lines(content), variable: l.variable}
	if root := d.parse(content); root != nil {
		d.decode(root, &l.file)
	}
	l.errs = append(l.errs, d.errs...)
}

func (l *loader) readVariables() {
	for _, field := range Fields() {
		origin := Origin{Variable: field.Variable()}
		text := l.variable(origin.Variable)
		if text == "" && field.Name == "database_url" {
			origin.Variable = VariableDatabaseURL
			text = l.variable(origin.Variable)
		}
		if text != "" {
			l.set(field, text, origin)
		}
	}
}

func (l *loader) readFlags() {
	for _, field := range Fields() {
		if text, ok := l.source.Flags[field.Name]; ok {
			l.set(field, text, Origin{Flag: field.Flag()})
		}
	}
}

func (l *loader) set(field Field, text string, origin Origin) {
	if err := field.parse(text, &l.file.settings); err != nil {
		l.refuse(origin, err)
		return
	}
	l.file.origins[field.Name] = origin
	if field.Name == "bootstrap_jobs" {
		l.file.bootstrap = nil
	}
}

// settings puts together what was read.
func (l *loader) settings() Settings {
	s := l.file.settings
	s.origins = l.file.origins
	s.Scheduler.Registry = l.registry()
	s.jobs = make(map[string]*fileJob, len(l.file.jobs))
	s.Scheduler.Disabled = !s.enabled
	dryRun := l.file.origins["dry_run"]
	everywhere := s.Scheduler.DryRun && dryRun.File == ""
	for _, job := range l.file.jobs {
		if job.isBroken() {
			continue // what is wrong with it, is said already
		}
		s.jobs[job.config.Name] = job
		config := job.config
		if everywhere {
			config.DryRun = nil // a flag or variable that says dry run means it
		}
		s.Scheduler.Jobs = append(s.Scheduler.Jobs, config)
	}
	return s
}

// registry holds the program's jobs and those that the file declares.
func (l *loader) registry() *jobs.Registry {
	given := l.source.Registry
	if given == nil {
		given = jobs.DefaultRegistry()
	}
	var declared []jobs.Job
	for _, job := range l.file.jobs {
		if job.declared == nil {
			continue
		}
		if _, err := given.Get(job.config.Name); err == nil {
			l.refuse(job.origins["name"], fmt.Errorf("job %q: %w: the program has a job of that name; give the declared one another", job.config.Name, jobs.ErrDuplicateJob))
			continue
		}
		declared = append(declared, job.declared)
	}
	if len(declared) == 0 {
		return given
	}
	var all jobs.Registry
	if err := all.Add(append(given.List(), declared...)...); err != nil {
		l.refuse(Origin{}, err) // each was checked, and their names are different
	}
	return &all
}

// diagnose finds the places of what was refused.
func (l *loader) diagnose(settings Settings, err error) {
	config := settings.Scheduler
	for _, job := range l.file.jobs {
		if job.isBroken() {
			continue
		}
		for _, one := range l.ask(scheduler.Config{Jobs: []scheduler.JobConfig{job.config}, Registry: alone(config.Registry, job.config.Name)}) {
			if one.Job != "" {
				l.refuse(job.place(one.Field, 0), one)
			}
		}
	}
	for i, name := range config.BootstrapJobs {
		if slices.ContainsFunc(l.file.jobs, func(job *fileJob) bool { return job.config.Name == name && job.isBroken() }) {
			continue
		}
		for _, one := range l.ask(scheduler.Config{BootstrapJobs: []string{name}, Registry: alone(config.Registry, name)}) {
			if one.Field == "bootstrap_jobs" {
				at := l.file.origins["bootstrap_jobs"]
				if i < len(l.file.bootstrap) {
					at = l.file.bootstrap[i]
				}
				l.refuse(at, fieldError(at, one))
			}
		}
	}
	config.Jobs, config.BootstrapJobs = nil, []string{}
	for _, one := range l.ask(config) {
		at := l.file.origins[one.Field]
		if one.Field == "database_url" && !at.IsSet() {
			l.refuse(at, fmt.Errorf("libpq's variables (PGHOST, PGPORT, PGSERVICE, ...): %w", one.Err))
			continue
		}
		l.refuse(at, fieldError(at, one))
	}
	if len(l.errs) == 0 {
		l.refuse(Origin{}, err)
	}
}

// alone is a registry with one of the jobs, so that asking about each of many does not
// go through all of them each time. A job that is not known needs all, for the hint.
func alone(all *jobs.Registry, name string) *jobs.Registry {
	job, err := all.Get(name)
	if err != nil {
		return all
	}
	var one jobs.Registry
	if err := one.Add(job); err != nil {
		return all
	}
	return &one
}

// ask lists what would be refused.
func (l *loader) ask(config scheduler.Config) []*scheduler.ConfigError {
	return scheduler.ConfigErrors(config.Validate())
}

// fieldError leaves the field's name out where the origin says it.
func fieldError(at Origin, one *scheduler.ConfigError) error {
	if at.File == "" && at.IsSet() {
		return one.Err
	}
	return one
}
