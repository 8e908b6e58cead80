package scheduler

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/cron"
	"github.com/systempromptio/scheduler/river/leader"
	"github.com/systempromptio/scheduler/sql"
)

// Validate says what [New] would refuse, except that Jobs need more of App than it has: a
// program that reads a configuration may have made nothing yet of what its jobs need.
func (c Config) Validate() error {
	return errors.Join(c.withDefaults().mistakes()...)
}

// validate is Validate, with what jobs need. The config must have its defaults.
func (c Config) validate() error {
	errs := c.mistakes()
	if len(errs) == 0 {
		errs = c.missing()
	}
	return errors.Join(errs...)
}

// missing lists what enabled jobs need, and App does not have.
func (c Config) missing() []error {
	var errs []error
	for _, d := range c.declarations() {
		if !d.Enabled {
			continue
		}
		for _, need := range d.Definition.Needs {
			if err := jobs.CheckNeeds(jobs.Definition{Name: d.Definition.Name, Needs: []jobs.Need{need}}, c.App); err != nil {
				errs = append(errs, &ConfigError{Job: d.Definition.Name, Field: "app", Err: err})
			}
		}
	}
	return errs
}

// mistakes lists what can be found without a database. The config must have its
// defaults.
func (c Config) mistakes() []error {
	var errs []error
	refuse := func(field string, err error) {
		if err != nil {
			errs = append(errs, &ConfigError{Field: field, Err: err})
		}
	}
	refuse("schema", sql.CheckSchema(c.Schema))
	if c.Pool == nil {
		_, err := pgxpool.ParseConfig(c.DatabaseURL)
		refuse("database_url", err)
	} else {
		refuse("pool", c.checkPool())
	}
	if c.LeaderDatabaseURL != "" {
		_, err := pgxpool.ParseConfig(c.LeaderDatabaseURL)
		refuse("leader_database_url", err)
	}
	_, err := cron.LoadLocation(c.TimeZone)
	refuse("timezone", err)
	if c.MaxWorkers < 1 || c.MaxWorkers > 10_000 {
		refuse("max_workers", fmt.Errorf("is %d, must be between 1 and 10000", c.MaxWorkers))
	}
	if c.ShutdownTimeout < 0 {
		refuse("shutdown_timeout", fmt.Errorf("is %v, must not be negative", c.ShutdownTimeout))
	}
	if c.LogLines != LogLinesOff && (c.LogLines < 1 || c.LogLines > logLinesMax) {
		refuse("log_lines", fmt.Errorf("is %d, must be between 1 and %d, or 0 for none", c.LogLines, logLinesMax))
	}
	refuse("replica_id", leader.CheckReplicaID(c.ReplicaID))
	for _, name := range c.BootstrapJobs {
		_, err := c.Registry.Get(name)
		refuse("bootstrap_jobs", err)
	}
	seen := make(map[string]bool, len(c.Jobs))
	for _, job := range c.Jobs {
		if seen[job.Name] {
			errs = append(errs, &ConfigError{Job: job.Name, Field: "name", Err: errors.New("configured twice; merge the two entries")})
		}
		seen[job.Name] = true
		errs = append(errs, job.validate(c.Registry)...)
	}
	if len(errs) == 0 {
		// A text may have ticks in one zone and none in another.
		for _, d := range c.declarations() {
			if err := jobs.CheckSchedule(d.Definition.Name, d.Schedule, d.TimeZone); err != nil {
				errs = append(errs, &ConfigError{Job: d.Definition.Name, Field: "schedule", Err: err})
			}
		}
	}
	return errs
}

// checkPool refuses a pool that would not do.
func (c Config) checkPool() error {
	config := c.Pool.Config()
	if c.DatabaseURL != "" {
		return errors.New("is set, and so is DatabaseURL: leave one of them out")
	}
	if err := checkExecMode(c.Pool); err != nil {
		return err
	}
	if needed := c.MaxWorkers + poolReserve; int(config.MaxConns) < needed {
		fix := fmt.Sprintf("set its MaxConns (pool_max_conns) to %d, and what the application needs", needed)
		if c.MaxWorkers > 1 {
			fix += ", or MaxWorkers to less"
		}
		return fmt.Errorf("has room for %d connections, and MaxWorkers (%d) and %d are needed: %s", config.MaxConns, c.MaxWorkers, poolReserve, fix)
	}
	return nil
}

func checkExecMode(pool *pgxpool.Pool) error {
	switch mode := pool.Config().ConnConfig.DefaultQueryExecMode; mode { //nolint:exhaustive // the others will do
	case pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol:
		return fmt.Errorf("has the DefaultQueryExecMode %q, in which values go without their types: set pgx.QueryExecModeCacheDescribe, which works through poolers, too", mode)
	}
	return nil
}

func (j JobConfig) validate(registry *jobs.Registry) []error {
	var errs []error
	refuse := func(field string, err error) {
		if err != nil {
			errs = append(errs, &ConfigError{Job: j.Name, Field: field, Err: err})
		}
	}
	job, err := registry.Get(j.Name)
	if err != nil {
		refuse("name", err)
		return errs
	}
	definition := job.Definition()
	if j.Schedule != "" {
		refuse("schedule", jobs.CheckSchedule(j.Name, j.Schedule, ""))
	}
	if j.TimeZone != "" {
		_, err := cron.LoadLocation(j.TimeZone)
		refuse("timezone", err)
	}
	for _, name := range slices.Sorted(maps.Keys(j.Parameters)) {
		_, err := jobs.Resolve(definition, map[string]any{name: j.Parameters[name]})
		refuse("parameters."+name, err)
	}
	refuse("overlap", j.Overlap.Check())
	refuse("catch_up", j.CatchUp.Check())
	refuse("catch_up_limit", jobs.CheckCatchUpLimit(j.CatchUpLimit))
	if j.CatchUpMaxAge < 0 {
		refuse("catch_up_max_age", fmt.Errorf("is %v, must be positive", j.CatchUpMaxAge))
	}
	if j.Timeout < 0 {
		refuse("timeout", fmt.Errorf("is %v, must be positive", j.Timeout))
	}
	if j.DryRunFor < 0 {
		refuse("dry_run_for", fmt.Errorf("is %v, must not be negative", j.DryRunFor))
	}
	if j.MaxAttempts < 0 || j.MaxAttempts > 32767 {
		refuse("max_attempts", fmt.Errorf("is %d, must be between 1 and 32767", j.MaxAttempts))
	}
	return errs
}
