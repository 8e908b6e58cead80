package config

import (
	"go.yaml.in/yaml/v3"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/declared"
	"github.com/systempromptio/scheduler/jobs/retention"
)

// retentionParameters are those that every cleanup job has.
func retentionParameters() []string {
	return []string{
		retention.ParameterBatchTime, retention.ParameterMaxRows, retention.ParameterMaxShare, retention.ParameterLagMax,
		retention.ParameterArchive, retention.ParameterPartitions,
	}
}

func retentionKeys() []JobField {
	return []JobField{
		{Name: "table", Usage: "the table, as in SQL; required"},
		{Name: "condition", Usage: "which rows go, as after WHERE, with the alias t; @now is the database's clock, other names are parameters; required"},
		{Name: "set", Usage: "what they are updated to, as after SET; by default they are deleted"},
		{Name: "archive", Usage: "where deleted rows go: none, json (archived_rows) or a table; by default none"},
		{Name: "optional", Usage: "true: a table that does not exist is reported by the runs, and not refused at the start"},
	}
}

// makeRetention reads a rule.
func makeRetention(d *document, node *yaml.Node, entry *fileJob, definition jobs.Definition) (jobs.Job, error) {
	c := declared.RetentionConfig{Definition: definition}
	d.section(
		entry, node, "retention",
		setting{"table", &c.Table, "none"}, setting{"condition", &c.Condition, "none"}, setting{"set", &c.Set, "deletes the rows"},
		setting{"archive", &c.Archive, retention.ArchiveNone}, setting{"optional", &c.Optional, "false"},
	)
	return asJob(declared.Retention(c))
}

// partitionParameters are those that every partition job has.
func partitionParameters() []string {
	return []string{declared.ParameterAhead, declared.ParameterMaxPartitions}
}

func partitionKeys() []JobField {
	return []JobField{
		{Name: "table", Usage: "the partitioned table, as in SQL; required"},
		{Name: "every", Usage: "how long a partition is, such as 1 day or 3 months; required"},
		{Name: "ahead", Usage: "how many exist beyond the present one; by default 4"},
		{Name: "keep", Usage: "how long ago a partition must have ended to be old, such as 90 days; by default none is"},
		{Name: "old", Usage: "detach or drop old ones; by default detach"},
		{Name: "name", Usage: "template of the names; by default {table}_p{YYYYMMDD}, for hours with _HH24MISS"},
		{Name: "timezone", Usage: "the zone in which days begin; by default UTC"},
	}
}

// makePartition reads how a table is partitioned.
func makePartition(d *document, node *yaml.Node, entry *fileJob, definition jobs.Definition) (jobs.Job, error) {
	c := declared.PartitionConfig{Definition: definition}
	d.section(
		entry, node, "partition",
		setting{"table", &c.Table, "none"}, setting{"every", &c.Every, "none"}, setting{"ahead", &c.Ahead, "4"},
		setting{"keep", &c.Keep, "for ever"}, setting{"old", &c.Old, declared.OldDetach}, setting{"name", &c.Name, "{table}_p{YYYYMMDD}"},
		setting{"timezone", &c.TimeZone, "UTC"},
	)
	return asJob(declared.Partition(c))
}

// asJob keeps a nil pointer from becoming a job.
func asJob[T jobs.Job](job T, err error) (jobs.Job, error) {
	if err != nil {
		return nil, err
	}
	return job, nil
}
