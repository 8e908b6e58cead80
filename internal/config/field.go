package config

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/systempromptio/scheduler"
)

// The formats of the log.
const (
	LogFormatText = "text"
	LogFormatJSON = "json"
)

// Settings is what a configuration says.
type Settings struct {
	// Scheduler is the replica's configuration, without the defaults that
	// scheduler.New fills in. Registry holds the jobs of the one that was handed to Load,
	// and those that the file declares.
	Scheduler scheduler.Config

	// LogLevel is the least level that is logged.
	LogLevel slog.Level

	// LogFormat is [LogFormatText] or [LogFormatJSON].
	LogFormat string

	// HTTP is the HTTP surface.
	HTTP HTTP

	// enabled is the opposite of Scheduler.Disabled.
	enabled bool
	origins map[string]Origin
	jobs    map[string]*fileJob
}

// HTTP is what a configuration says about the HTTP surface.
type HTTP struct {
	// Listen is the address; empty for no HTTP.
	Listen string
	// Token is a secret that lets a request do everything; empty for none.
	Token string
	// BasicAuth is user:password; empty for none.
	BasicAuth string
	// ReadOnly refuses changing calls.
	ReadOnly bool
}

// Origin says where a field's value is from; the zero Origin if it has its
// default.
func (s Settings) Origin(field string) Origin { return s.origins[field] }

// Field is a setting: a key of the file's top level, a variable and a flag.
type Field struct {
	// Name is its key in the file.
	Name string
	// Usage is one line for people.
	Usage string
	// Default is what holds where nothing is set, as people write it. Empty means
	// that there is no such value.
	Default string
	// Enum lists what is allowed. Empty means anything of the type.
	Enum []string

	// target points to the field's place. Its type is the field's type.
	target func(*Settings) any
}

// Fields lists the settings of the file's top level, without the jobs.
func Fields() []Field {
	return []Field{
		{
			Name: "database_url", Usage: "database in which jobs run and the schema lives: a URL or keyword/value string",
			Default: "libpq's variables",
			target:  func(s *Settings) any { return &s.Scheduler.DatabaseURL },
		},
		{
			Name: "leader_database_url", Usage: "direct connection to the same database for the leader's lock, if database_url leads through a pooler",
			Default: "database_url",
			target:  func(s *Settings) any { return &s.Scheduler.LeaderDatabaseURL },
		},
		{
			Name: "schema", Usage: "Postgres schema of the scheduler; two schedulers in one database use two",
			Default: scheduler.SchemaDefault,
			target:  func(s *Settings) any { return &s.Scheduler.Schema },
		},
		{
			Name: "enabled", Usage: "enqueue runs; false lets all schedules rest",
			Default: "true",
			target:  func(s *Settings) any { return &s.enabled },
		},
		{
			Name: "timezone", Usage: "IANA time zone in which schedules are read that name none",
			Default: scheduler.TimeZoneDefault,
			target:  func(s *Settings) any { return &s.Scheduler.TimeZone },
		},
		{
			Name: "dry_run", Usage: "every run reports what it would do and changes nothing; as a flag or variable it wins over the jobs' own",
			Default: "false",
			target:  func(s *Settings) any { return &s.Scheduler.DryRun },
		},
		{
			Name: "max_workers", Usage: "runs that a replica works at once, 1 to 10000",
			Default: "10",
			target:  func(s *Settings) any { return &s.Scheduler.MaxWorkers },
		},
		{
			Name: "shutdown_timeout", Usage: "how long runs may go on after SIGTERM before another replica takes them over",
			Default: "30s",
			target:  func(s *Settings) any { return &s.Scheduler.ShutdownTimeout },
		},
		{
			Name: "bootstrap_jobs", Usage: "jobs to run once when a fleet starts, separated by commas; an empty list for none",
			Default: "cleanup_inactive_sessions",
			target:  func(s *Settings) any { return &s.Scheduler.BootstrapJobs },
		},
		{
			Name: "migrate", Usage: "bring the schema up to date at the start",
			Default: "false",
			target:  func(s *Settings) any { return &s.Scheduler.Migrate },
		},
		{
			Name: "log_lines", Usage: "lines of what a run's attempt logs at level info and above that are kept in the database, 1 to 1000; 0 for none",
			Default: "100",
			target:  func(s *Settings) any { return (*linesOrOff)(&s.Scheduler.LogLines) },
		},
		{
			Name: "log_level", Usage: "least level that is logged: debug, info, warn or error",
			Default: "info", Enum: []string{"debug", "info", "warn", "error"},
			target: func(s *Settings) any { return &s.LogLevel },
		},
		{
			Name: "log_format", Usage: "format of the log: text or json",
			Default: LogFormatText, Enum: []string{LogFormatText, LogFormatJSON},
			target: func(s *Settings) any { return &s.LogFormat },
		},
		{
			Name: "listen", Usage: "serve HTTP there: health, metrics, the overview page, River UI, the JSON API; a port of 127.0.0.1, or host:port",
			Default: "no HTTP",
			target:  func(s *Settings) any { return &s.HTTP.Listen },
		},
		{
			Name: "http_token", Usage: "secret of at least 16 characters that lets an HTTP request do everything, as a bearer token or a password",
			Default: "none",
			target:  func(s *Settings) any { return &s.HTTP.Token },
		},
		{
			Name: "http_basic_auth", Usage: "user:password that lets an HTTP request do everything",
			Default: "none",
			target:  func(s *Settings) any { return &s.HTTP.BasicAuth },
		},
		{
			Name: "http_read_only", Usage: "refuse every changing call over HTTP",
			Default: "false",
			target:  func(s *Settings) any { return &s.HTTP.ReadOnly },
		},
		{
			Name: "only_listed_jobs", Usage: "schedule only the jobs that the configuration lists; the others are registered and disabled",
			Default: "false",
			target:  func(s *Settings) any { return &s.Scheduler.OnlyListedJobs },
		},
	}
}

// JobField is a key of an entry of jobs.
type JobField struct {
	// Name is the key.
	Name string
	// Usage is one line for people.
	Usage string

	// target points to the field's place; nil for parameters, which are a map, and for
	// what only a declared job has.
	target func(*scheduler.JobConfig) any
}

// JobFields lists the keys of an entry of jobs.
func JobFields() []JobField {
	fields := []JobField{
		{Name: "name", Usage: "the job's name; required", target: func(j *scheduler.JobConfig) any { return &j.Name }},
		{Name: "enabled", Usage: "false takes the job off the schedule", target: func(j *scheduler.JobConfig) any { return &j.Enabled }},
		{Name: "schedule", Usage: "cron text: five fields, six with seconds first, or a name such as @daily", target: func(j *scheduler.JobConfig) any { return &j.Schedule }},
		{Name: "timezone", Usage: "IANA time zone in which the schedule is read", target: func(j *scheduler.JobConfig) any { return &j.TimeZone }},
		{Name: "parameters", Usage: "values by name; `scheduler job NAME` lists them"},
		{Name: "overlap", Usage: "what becomes of a run whose predecessor has not ended: skip, queue or allow", target: func(j *scheduler.JobConfig) any { return (*string)(&j.Overlap) }},
		{Name: "catch_up", Usage: "what becomes of missed ticks: latest, all or none", target: func(j *scheduler.JobConfig) any { return (*string)(&j.CatchUp) }},
		{Name: "catch_up_limit", Usage: "how many missed ticks are made up for at most", target: func(j *scheduler.JobConfig) any { return &j.CatchUpLimit }},
		{Name: "catch_up_max_age", Usage: "the age beyond which a missed tick is not made up for", target: func(j *scheduler.JobConfig) any { return &j.CatchUpMaxAge }},
		{Name: "timeout", Usage: "how long an attempt may take", target: func(j *scheduler.JobConfig) any { return &j.Timeout }},
		{Name: "max_attempts", Usage: "how many attempts a run has, 1 to 32767", target: func(j *scheduler.JobConfig) any { return &j.MaxAttempts }},
		{Name: "dry_run", Usage: "true: scheduled runs report and change nothing", target: func(j *scheduler.JobConfig) any { return &j.DryRun }},
		{Name: "dry_run_for", Usage: "the job's scheduled runs are dry runs for so long after it was first declared with it; 0s for none", target: func(j *scheduler.JobConfig) any { return (*durationOrOff)(&j.DryRunFor) }},
		{Name: "description", Usage: "one line for people; of a declared job"},
	}
	for _, k := range kinds() {
		fields = append(fields, JobField{Name: k.name, Usage: k.usage})
	}
	return fields
}

// Flag is the flag's name, without dashes in front.
func (f Field) Flag() string { return strings.ReplaceAll(f.Name, "_", "-") }

// Variable is the environment variable's name.
func (f Field) Variable() string { return "SCHEDULER_" + strings.ToUpper(f.Name) }

// Type is the type's name for people.
func (f Field) Type() string {
	switch f.target(&Settings{}).(type) {
	case *bool:
		return "bool"
	case *int, *linesOrOff:
		return "int"
	case *time.Duration:
		return "duration"
	case *[]string:
		return "list"
	}
	return "string"
}

// Text is the field's value in settings, for people.
func (f Field) Text(s Settings) string {
	switch target := f.target(&s).(type) {
	case *string:
		return *target
	case *bool:
		return strconv.FormatBool(*target)
	case *int:
		return strconv.Itoa(*target)
	case *linesOrOff:
		return strconv.Itoa(max(int(*target), 0))
	case *time.Duration:
		return target.String()
	case *[]string:
		return fmt.Sprint(*target)
	case *slog.Level:
		return strings.ToLower(target.String())
	default:
		panic(fmt.Sprintf("field %s has a type that Text does not know: %T", f.Name, target))
	}
}

// Check says whether a flag's or variable's text can be a value of the field.
func (f Field) Check(text string) error { return f.parse(text, &Settings{}) }

// parse sets the field from a flag's or variable's text. An empty text unsets it,
// but makes a list an empty one.
func (f Field) parse(text string, s *Settings) error {
	if len(f.Enum) > 0 && !slices.Contains(f.Enum, text) {
		return fmt.Errorf("is %q, must be one of: %s", text, strings.Join(f.Enum, ", "))
	}
	switch target := f.target(s).(type) {
	case *string:
		*target = text
	case *bool:
		switch text {
		case "true":
			*target = true
		case "false":
			*target = false
		default:
			return fmt.Errorf("must be true or false, not %q", text)
		}
	case *int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("must be a whole number, not %q", text)
		}
		return setPositive(target, n, f.Default)
	case *linesOrOff:
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("must be a whole number, or 0 for none, not %q", text)
		}
		return target.set(n)
	case *time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf(`must be a duration such as "90s" or "1h30m", not %q`, text)
		}
		return setPositiveDuration(target, d, f.Default)
	case *[]string:
		*target = []string{}
		for name := range strings.SplitSeq(text, ",") {
			if name = strings.TrimSpace(name); name != "" {
				*target = append(*target, name)
			}
		}
	case *slog.Level:
		return target.UnmarshalText([]byte(text))
	default:
		panic(fmt.Sprintf("field %s has a type that parse does not know: %T", f.Name, target))
	}
	return nil
}

// durationOrOff is a duration of which zero means that there is none.
type durationOrOff time.Duration

// linesOrOff is a number of which zero means that there are none.
type linesOrOff int

func (l *linesOrOff) set(n int) error {
	if n < 0 {
		return fmt.Errorf("is %d, must not be negative; 0 for none", n)
	}
	if *l = linesOrOff(n); n == 0 {
		*l = scheduler.LogLinesOff
	}
	return nil
}

// A zero would mean the default, which is not what somebody writes it for.

func setPositive(target *int, n int, otherwise string) error {
	if n < 1 {
		return fmt.Errorf("is %d, must be at least 1%s", n, hint(otherwise))
	}
	*target = n
	return nil
}

func setPositiveDuration(target *time.Duration, d time.Duration, otherwise string) error {
	if d <= 0 {
		return fmt.Errorf("is %v, must be longer than 0%s", d, hint(otherwise))
	}
	*target = d
	return nil
}

var errEmpty = errors.New("has no value")

// hint says what leaving a field out does.
func hint(otherwise string) string {
	if otherwise == "" {
		return "; leave it out for the job's own"
	}
	return "; leave it out for the default, " + otherwise
}
