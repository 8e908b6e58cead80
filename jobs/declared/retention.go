package declared

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/retention"
)

// RetentionConfig says what a job of [Retention] does.
type RetentionConfig struct {
	// Definition describes the job. Its parameters are the arguments of Condition and Set;
	// each must be used.
	Definition jobs.Definition

	// Table is the table whose rows go, as it is written in SQL: with its schema, or where
	// the search_path leads. Required. Partitioned tables are worked partition by partition.
	Table string

	// Condition says which rows go: what follows WHERE in a SELECT, with the alias t for
	// the table's row. @name stands for the parameter of that name and @now for the
	// database's clock when the attempt began. It may look at other tables. Required.
	Condition string

	// Set, if not empty, is what rows are updated to instead of being deleted: what follows
	// SET in an UPDATE. A row that is updated must not be named by Condition any more.
	Set string

	// Archive says where deleted rows go: nowhere ("none", or empty), as JSON to the
	// scheduler's archived_rows ("json"), or to the table of that name, which LIKE … makes.
	Archive string

	// Optional has a table that does not exist reported as absent by every run, instead of
	// refused at the start.
	Optional bool
}

// Retention makes a job that deletes, or updates, the rows of a table that meet a
// condition, by the engine of package retention: with its parameters, batches, bounds,
// dry run and explanation. No primary key is needed: rows are found by their place.
//
// Before the start it is checked against the database ([retention.Job.Check]).
func Retention(config RetentionConfig) (*retention.Job, error) {
	rule := retention.Rule{
		Target: targetOf(config.Table), Table: config.Table, Condition: config.Condition, Set: config.Set, Optional: config.Optional,
	}
	made := retention.Config{Definition: labelled(config.Definition, "retention")}
	switch config.Archive {
	case "", retention.ArchiveNone, retention.ArchiveJSON:
		made.Archive = config.Archive
	default:
		rule.ArchiveTable = config.Archive
	}
	made.Rules = []retention.Rule{rule}
	if err := checkRetention(config); err != nil {
		return nil, err
	}
	return retention.New(made)
}

var notTargetRE = regexp.MustCompile(`[^a-z0-9_]+`)

// targetOf is the name under which the ledger counts the rows of a table: its own, as
// far as such a name can hold it.
func targetOf(table string) string {
	name := table
	if i := strings.LastIndex(strings.TrimSuffix(name, `"`), "."); i >= 0 {
		name = name[i+1:]
	}
	name = strings.Trim(notTargetRE.ReplaceAllString(strings.ToLower(name), "_"), "_0123456789")
	if name == "" {
		return "rows"
	}
	return name
}

// checkRetention refuses what is wrong without a look at a database.
func checkRetention(config RetentionConfig) error {
	var errs []error
	refuse := func(field, text string) {
		errs = append(errs, &jobs.FieldError{Field: field, Err: errors.New(text)})
	}
	if strings.TrimSpace(config.Table) == "" {
		refuse("retention.table", "is empty; name the table whose rows go")
	}
	if strings.TrimSpace(config.Condition) == "" {
		refuse("retention.condition", "is empty; say which rows go, such as created_at < @now - interval '90 days'")
	}
	if config.Set != "" && config.Archive != "" && config.Archive != retention.ArchiveNone {
		refuse("retention.archive", "is for rows that are deleted, and set keeps them: leave out one of the two")
	}
	for field, text := range map[string]string{"table": config.Table, "condition": config.Condition, "set": config.Set, "archive": config.Archive} {
		if strings.ContainsRune(text, 0) || !utf8.ValidString(text) {
			refuse("retention."+field, "holds a NUL character or is not UTF-8, which SQL cannot")
		}
		if strings.Contains(text, "{table}") {
			refuse("retention."+field, "holds {table}, which a condition does not need: columns are those of the table, with the alias t")
		}
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	return checkArguments(config)
}

// checkArguments refuses arguments that are not declared, and parameters that are not used.
func checkArguments(config RetentionConfig) error {
	var errs []error
	var used []string
	for _, part := range []struct{ field, text string }{{"retention.condition", config.Condition}, {"retention.set", config.Set}} {
		if part.text == "" {
			continue
		}
		s, err := newStatement(part.field, part.text, config.Definition, argNow)
		if s != nil {
			used = append(used, s.names...)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	for _, p := range config.Definition.Parameters {
		field := "parameters." + p.Name
		switch {
		case p.Name == argNow:
			errs = append(errs, &jobs.FieldError{Field: field, Err: errors.New("@now is the database's clock; choose another name")})
		case !slices.Contains(used, p.Name) && len(errs) == 0:
			errs = append(errs, &jobs.FieldError{Field: field, Err: fmt.Errorf("neither the condition nor what is set uses @%s; use it, or leave the parameter out", p.Name)})
		}
	}
	return errors.Join(errs...)
}
