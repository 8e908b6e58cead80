package retention

import (
	"slices"

	"github.com/systempromptio/scheduler/jobs"
)

// The parameters that every cleanup job has, beside those of its definition.
const (
	// ParameterBatchTime is the time for which a batch aims to hold its locks.
	ParameterBatchTime = "batch_time"
	// ParameterMaxRows bounds the rows of a run: with more, it is blocked before it
	// changes anything. 0 means no bound.
	ParameterMaxRows = "max_rows"
	// ParameterMaxShare bounds them as a share of their table. 1 means no bound. It
	// does not count below [MaxShareRowsMin] rows.
	ParameterMaxShare = "max_share"
	// ParameterLagMax is how many megabytes of WAL a replica of the database may be behind
	// before the run slows down for it. 0 means that the run does not look.
	ParameterLagMax = "lag_max_mb"
	// ParameterArchive says where the rows go that are deleted: nowhere, or as JSON into
	// the table archived_rows of the scheduler's schema. Only for jobs that delete.
	ParameterArchive = "archive"
	// ParameterPartitions says what becomes of a partition of which every row is to go.
	// Only for jobs that delete.
	ParameterPartitions = "partitions"
)

// The values of [ParameterArchive] and [ParameterPartitions].
const (
	ArchiveNone = "none"
	ArchiveJSON = "json"

	PartitionsDelete = "delete"
	PartitionsDetach = "detach"
	PartitionsDrop   = "drop"
)

// MaxShareRowsMin is the number of rows below which [ParameterMaxShare] does not
// count: of a few rows, all may well be due.
const MaxShareRowsMin = 1000

// parameters are those that New adds.
func (j *Job) parameters() []jobs.Parameter {
	share := j.config.MaxShare
	if share == 0 {
		share = 1
		if j.deletes() {
			share = MaxShareDefault
		}
	}
	list := []jobs.Parameter{
		{
			Name:        ParameterBatchTime,
			Description: "The time for which a batch aims to hold its locks.",
			Type:        jobs.TypeDuration,
			Default:     j.config.BatchTime,
			Minimum:     jobs.Bound(0.001),
			Maximum:     jobs.Bound(60),
		},
		{
			Name:        ParameterMaxRows,
			Description: "A run that would change more rows is blocked before it begins; 0: no bound.",
			Type:        jobs.TypeInteger,
			Default:     j.config.MaxRows,
			Minimum:     jobs.Bound(0),
		},
		{
			Name:        ParameterMaxShare,
			Description: "A run that would change a larger share of a table is blocked before it begins, if that is 1000 rows or more; 1: no bound.",
			Type:        jobs.TypeNumber,
			Default:     share,
			Minimum:     jobs.Bound(0),
			Maximum:     jobs.Bound(1),
		},
		{
			Name:        ParameterLagMax,
			Description: "How many megabytes a replica of the database may be behind before the job slows down for it; 0: it does not look.",
			Type:        jobs.TypeInteger,
			Default:     max(j.config.LagMax>>20, 1),
			Minimum:     jobs.Bound(0),
			Maximum:     jobs.Bound(1 << 20),
		},
	}
	if j.deletes() {
		list = append(list, deletingParameters(j.config.Archive)...)
	}
	for i := range list {
		// Replicas of a version before these parameters work with the defaults, too.
		list[i].OmitDefault = true
	}
	return list
}

// deletingParameters are those of jobs that delete.
func deletingParameters(archive string) []jobs.Parameter {
	return []jobs.Parameter{
		{
			Name:        ParameterArchive,
			Description: "Where deleted rows go: nowhere, or as JSON into archived_rows, in the transaction that deletes them.",
			Type:        jobs.TypeString,
			Default:     archive,
			Enum:        []string{ArchiveNone, ArchiveJSON},
		},
		{
			Name:        ParameterPartitions,
			Description: "What becomes of a partition of which every row is to go: its rows are deleted, or it is detached, or dropped.",
			Type:        jobs.TypeString,
			Default:     PartitionsDelete,
			Enum:        []string{PartitionsDelete, PartitionsDetach, PartitionsDrop},
		},
	}
}

// deletes says whether a rule of the job deletes.
func (j *Job) deletes() bool {
	return slices.ContainsFunc(j.rules, func(r parsedRule) bool { return r.Set == "" })
}

// reservedParameter is a parameter of the definition that New would add.
func reservedParameter(parameters []jobs.Parameter) string {
	for _, p := range parameters {
		switch p.Name {
		case ParameterBatchTime, ParameterMaxRows, ParameterMaxShare, ParameterLagMax, ParameterArchive, ParameterPartitions:
			return p.Name
		}
	}
	return ""
}
