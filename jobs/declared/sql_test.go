package declared_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/declared"
)

var keep = jobs.Parameter{Name: "keep", Type: jobs.TypeInteger, Default: 3}

func TestSQLRefuses(t *testing.T) {
	t.Parallel()
	const outside, session, setting, empty = "sql_outside_transaction", "leave it out", "SET LOCAL", "is empty"
	for text, says := range map[string]string{
		"": empty, " ;; ": empty, "-- only a comment": empty, "/* open": empty, "/* a /* b */ c */": empty,
		"SELECT '\x00'":               "NUL",
		"SELECT '\xff'":               "UTF-8",
		"COMMIT":                      session,
		"commit;":                     session,
		"\t-- x\n/* y */ RoLLbAcK":    session,
		"BEGIN; DELETE FROM t":        session,
		"START TRANSACTION":           session,
		"END":                         session,
		"ABORT":                       session,
		"SAVEPOINT a":                 session,
		"RELEASE a":                   session,
		"PREPARE TRANSACTION 'x'":     session,
		"LISTEN x":                    session,
		"DISCARD ALL":                 session,
		"RESET ROLE":                  session,
		"DECLARE c CURSOR FOR SELECT": session,
		"SET search_path = x":         setting,
		"SET SESSION AUTHORIZATION x": setting,
		"SET ROLE x":                  setting,
		"SET LOCAL ROLE x":            "role",
		"SET\n LOCAL\trole = x":       "role",
		"COPY t FROM STDIN":           "other end",
		"COPY t FROM/**/STDIN":        "other end",
		"COPY (SELECT 1) TO STDOUT":   "other end",
		"VACUUM t":                    outside,
		"/* c */ vacuum (analyze) t":  outside,
		"CREATE INDEX CONCURRENTLY i": outside,
		"CREATE UNIQUE\nINDEX CONCURRENTLY i ON t (a)":  outside,
		"DROP INDEX CONCURRENTLY i":                     outside,
		"REINDEX (VERBOSE) TABLE CONCURRENTLY t":        outside,
		"REINDEX TABLE CONCURRENTLY t":                  outside,
		"REINDEX DATABASE d":                            outside,
		"ALTER SYSTEM SET a = b":                        outside,
		"CREATE DATABASE d":                             outside,
		"DROP TABLESPACE s":                             outside,
		"ALTER TABLE t DETACH PARTITION p CONCURRENTLY": outside,
		"SELECT @kep":                                   "@kep is not known",
		"SELECT a <@b":                                  "put a space behind",
	} {
		_, err := declared.SQL(declared.SQLConfig{Definition: definition(), Statements: []declared.Statement{{Text: text}}})
		require.ErrorContains(t, err, says, text)
		require.Contains(t, fieldsOf(err), "sql.statement_1", text)
	}
	for _, text := range []string{
		"SET LOCAL work_mem = '1GB'", "SET CONSTRAINTS ALL DEFERRED", "REFRESH MATERIALIZED VIEW CONCURRENTLY v", "CREATE INDEX i ON t (a)", "REINDEX TABLE t",
		"CALL p()", "DO $$ BEGIN PERFORM '@x'; END $$", "SELECT '@a', \"@b\" -- @c\n /* @d */", "ANALYZE t", "COPY t TO '/f'", "DELETE FROM begin_table", "TRUNCATE t;",
		"SELECT a @> b, a <@ b, @ -5",
	} {
		_, err := declared.SQL(declared.SQLConfig{Definition: definition(), Statements: []declared.Statement{{Text: text}}})
		require.NoError(t, err, text)
	}
}

func TestSQLPlacesAndNames(t *testing.T) {
	t.Parallel()
	_, err := declared.SQL(declared.SQLConfig{Definition: definition(keep), Statements: []declared.Statement{
		{Text: "SELECT 'ü', @keep, @other"}, {Name: "b", Text: "SELECT @keep + @x"}, {Name: "b", Text: "SELECT 1"}, {Text: ""},
	}})
	require.Equal(t, map[string]int{"sql.statement_1": 20, "sql.b": 0, "sql.statement_4": 0}, fieldsOf(err))
	_, err = declared.SQL(declared.SQLConfig{Definition: definition(keep, jobs.Parameter{Name: "now", Type: jobs.TypeString, Default: ""}), Statements: []declared.Statement{{Text: "SELECT @now"}}})
	require.Equal(t, map[string]int{"parameters.keep": 0, "parameters.now": 0}, fieldsOf(err))
	require.ErrorContains(t, err, "no statement uses @keep")
	_, err = declared.SQL(declared.SQLConfig{Definition: definition()})
	require.ErrorContains(t, err, "has no statement")
	job, err := declared.SQL(declared.SQLConfig{Definition: definition(keep), Statements: []declared.Statement{{Text: "SELECT @keep"}}})
	require.NoError(t, err)
	require.Equal(t, "Does it. [SQL]", job.Definition().Description)
	require.NoError(t, jobs.Validate(job))
}

func TestSQLOutsideTransactionRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "BEGIN", "SET x = 1", "VACUUM @t"} {
		_, err := declared.SQLOutsideTransaction(declared.SQLOutsideConfig{Definition: definition(), Statement: text})
		require.Contains(t, fieldsOf(err), "sql_outside_transaction", text)
	}
	job, err := declared.SQLOutsideTransaction(declared.SQLOutsideConfig{Definition: definition(), Statement: "VACUUM t"})
	require.NoError(t, err)
	require.NoError(t, jobs.Validate(job))
	targets, message, err := attempt(t, job, func(run *jobs.Run) { run.DryRun = true })
	require.NoError(t, err)
	require.Contains(t, message, "nothing was done")
	require.Equal(t, "not done in a dry run", targets["statement"].Note)
	_, _, err = attempt(t, job, nil)
	require.ErrorContains(t, err, "needs a connection of its own")
}

// The record of a run that began when its job was of another kind is no reason to begin
// anew from who knows where.
func TestRunOfAnotherKind(t *testing.T) {
	t.Parallel()
	job, err := declared.Partition(declared.PartitionConfig{Definition: definition(), Table: "events", Every: "1 day"})
	require.NoError(t, err)
	_, err = job.Start(t.Context(), &jobs.Run{Cursor: []byte(`{"begun": true}`)})
	require.True(t, jobs.IsPermanent(err))
	require.ErrorContains(t, err, "run it anew")
}
