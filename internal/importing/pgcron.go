package importing

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/systempromptio/scheduler/sql"
)

// ErrNoPgCron: the database has no table cron.job, or the role may not read it.
var ErrNoPgCron = errors.New("pg_cron is not to be seen")

// pgCronRow is a row of cron.job. Older versions lack jobname and active.
type pgCronRow struct {
	ID       int64   `json:"jobid"`
	Name     *string `json:"jobname"`
	Schedule string  `json:"schedule"`
	Command  string  `json:"command"`
	NodeName string  `json:"nodename"`
	NodePort int     `json:"nodeport"`
	Database string  `json:"database"`
	User     string  `json:"username"`
	Active   *bool   `json:"active"`
}

// PgCron reads the jobs of pg_cron, in a transaction that changes nothing. Of each command
// it asks the server whether it is one statement; for that it is parsed, and not run. The
// error is [ErrNoPgCron] if there is nothing to read. hidden says that the role sees its
// own jobs only.
func PgCron(ctx context.Context, conn *pgx.Conn) (jobs []Job, hidden bool, err error) {
	statements := sql.For(sql.SchemaDefault) // of which none names the schema
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, false, err
	}
	defer tx.Rollback(context.WithoutCancel(ctx))
	server, err := statements.PgCronServer(ctx, tx)
	if err != nil {
		return nil, false, err
	}
	if !server.Readable {
		return nil, false, fmt.Errorf("database %q: %w: it has no table cron.job that role %q may read; pg_cron keeps its jobs in the one database that its setting cron.database_name names (SHOW cron.database_name): connect to that with --database-url",
			server.Database, ErrNoPgCron, server.Role)
	}
	rows, err := statements.ListPgCronJobs(ctx, tx)
	if err != nil {
		return nil, false, err
	}
	for _, text := range rows {
		var row pgCronRow
		if err := json.Unmarshal(text, &row); err != nil {
			return nil, false, fmt.Errorf("read a row of cron.job: %w", err)
		}
		job, err := pgCronJob(ctx, tx, row, server)
		if err != nil {
			return nil, false, err
		}
		jobs = append(jobs, job)
	}
	return jobs, server.RowSecurity, nil
}

// pgCronJob makes a job of a row.
func pgCronJob(ctx context.Context, tx pgx.Tx, row pgCronRow, server sql.PgCronServer) (Job, error) {
	job := Job{Source: fmt.Sprintf("pg_cron job %d", row.ID), Name: fmt.Sprintf("pg_cron_%d", row.ID), Overlap: "queue"}
	if row.Name != nil && *row.Name != "" {
		job.Name = *row.Name
	}
	job.Disabled = row.Active != nil && !*row.Active
	job.Schedule, job.TimeZone = pgCronSchedule(&job, row.Schedule), server.TimeZone
	if slices.Contains([]string{"", "GMT", "UTC", "Etc/UTC", "Etc/GMT"}, job.TimeZone) {
		job.TimeZone = ""
	}
	if strings.HasPrefix(job.Schedule, "@every") {
		job.TimeZone = ""
	}
	if row.User != server.Role {
		job.notef("it ran as role %q; here it runs as the role of the replicas", row.User)
	}
	job.SQL = []string{row.Command}
	switch {
	case row.Database != server.Database:
		job.refusef("it runs in database %q; a scheduler works in one database, so that one needs replicas of its own", row.Database)
		return job, nil
	case !slices.Contains([]string{"", "localhost", "127.0.0.1", "::1"}, row.NodeName) && !strings.HasPrefix(row.NodeName, "/"):
		job.refusef("it runs on the server %q, port %d; that one needs replicas of its own", row.NodeName, row.NodePort)
		return job, nil
	case row.NodePort != server.Port:
		job.notef("it ran on port %d of that machine, and this server has port %d; is it the right one?", row.NodePort, server.Port)
	}
	var err error
	if job.SQL, err = statementsOf(ctx, tx, &job, row.Command); err != nil {
		return job, err
	}
	refuseArguments(&job)
	return job, nil
}

// refuseArguments refuses a statement with an operator that would be an argument here: @now
// is the absolute value of a column there, and the time here.
func refuseArguments(job *Job) {
	for _, statement := range job.SQL {
		if uses, err := sql.ArgumentUses(statement); err != nil || len(uses) > 0 {
			job.refusef("an @ right before a word is a parameter here; it was an operator: put a space behind it")
		}
	}
}

var secondsRE = regexp.MustCompile(`(?i)^\s*(\d+)\s+seconds?\s*$`)

// pgCronSchedule is the schedule as it is written here.
func pgCronSchedule(job *Job, text string) string {
	if m := secondsRE.FindStringSubmatch(text); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			job.notef("it ran so long after its last start; here it runs at the whole multiples of the interval")
			return fmt.Sprintf("@every %ds", n)
		}
	}
	if strings.HasPrefix(strings.TrimSpace(text), "@") {
		schedule := strings.TrimSpace(text)
		if isReboot(schedule) {
			job.refusef("%s", rebootHint)
		}
		return schedule
	}
	fields := strings.Fields(text)
	if len(fields) != 5 {
		job.refusef("its schedule %q has %d fields, of which pg_cron reads five; write those five", text, len(fields))
		return text
	}
	fields[2] = strings.ReplaceAll(fields[2], "$", "L")
	checkFields(job, fields, true)
	return strings.Join(fields, " ")
}

// An item of a field as cron and pg_cron read it: a value, a range, or all, with a step
// behind the last two; L is what "$" has become. What else a field can hold here, means
// something else there, or nothing.
var itemRE = regexp.MustCompile(`(?i)^(?:L|[0-9]+|[a-z]{3}|(?:\*|(?:[0-9]+|[a-z]{3})-(?:[0-9]+|[a-z]{3}))(?:/[0-9]+)?)$`)

// checkFields refuses what the other program cannot have meant as it is read here. last
// says that a day may be L.
func checkFields(job *Job, fields []string, last bool) {
	for i, field := range fields {
		for item := range strings.SplitSeq(field, ",") {
			if !itemRE.MatchString(item) || strings.EqualFold(item, "L") && (!last || i != 2) {
				job.refusef("%q in its schedule is nothing that cron reads", item)
			}
		}
	}
}

// codeSyntaxError is the server's code for a text that it cannot read.
const codeSyntaxError = "42601"

// statementsOf is the command as statements. Whether it is one, the server says: it parses
// it, and does not run it.
func statementsOf(ctx context.Context, tx pgx.Tx, job *Job, command string) ([]string, error) {
	command = strings.TrimSpace(command)
	refusal, err := parsed(ctx, tx, command)
	switch {
	case err != nil:
		return nil, err
	case refusal == nil:
	case isSeveral(refusal):
		return several(ctx, tx, job, command)
	case refusal.Code == codeSyntaxError:
		job.refusef("the server cannot read it: %s", refusal.Message)
	default:
		job.notef("the server refuses it now: %s (SQLSTATE %s)", refusal.Message, refusal.Code)
	}
	if procedureRE.MatchString(command) {
		job.notef("if it commits or rolls back, declare it as sql_outside_transaction")
	}
	return []string{command}, nil
}

var procedureRE = regexp.MustCompile(`(?i)^(call|do)\b`)

// isSeveral says that the server has found more than one command. That has no place in the
// text; a mistake of syntax has.
func isSeveral(refusal *pgconn.PgError) bool {
	return refusal.Code == codeSyntaxError && refusal.Position == 0
}

// several takes a command apart at its semicolons, if there is no doubt where they are.
func several(ctx context.Context, tx pgx.Tx, job *Job, command string) ([]string, error) {
	const byHand = "it is several statements: give them as a list, an item each"
	// Without these, nothing but quotes can hide a semicolon.
	for _, doubt := range []string{"--", "/*", "$", `\`} {
		if strings.Contains(command, doubt) {
			job.refusef("%s; where one ends is in doubt, since it has %q", byHand, doubt)
			return []string{command}, nil
		}
	}
	var list []string
	for _, statement := range splitAtSemicolons(command) {
		refusal, err := parsed(ctx, tx, statement)
		if err != nil {
			return nil, err
		}
		if refusal != nil && refusal.Code == codeSyntaxError {
			job.refusef("%s; the server cannot read one of them: %s", byHand, refusal.Message)
			return []string{command}, nil
		}
		list = append(list, statement)
	}
	job.notef("its %d statements run in one transaction, as they did", len(list))
	return list, nil
}

// splitAtSemicolons splits a text at the semicolons that are not within quotes. It knows
// neither comments nor dollars nor backslashes.
func splitAtSemicolons(text string) []string {
	var list []string
	var quote rune
	from := 0
	add := func(statement string) {
		if statement = strings.TrimSpace(statement); statement != "" {
			list = append(list, statement)
		}
	}
	for i, r := range text {
		switch {
		case quote != 0:
			if r == quote {
				quote = 0 // a doubled one begins again at once
			}
		case r == '\'' || r == '"':
			quote = r
		case r == ';':
			add(text[from:i])
			from = i + 1
		}
	}
	add(text[from:])
	return list
}

// parsed asks the server what it says of a statement. Nothing is run.
func parsed(ctx context.Context, tx pgx.Tx, statement string) (*pgconn.PgError, error) {
	savepoint, err := tx.Begin(ctx)
	if err != nil {
		return nil, err
	}
	_, err = savepoint.Conn().PgConn().Prepare(ctx, "", statement, nil)
	if rollback := savepoint.Rollback(ctx); rollback != nil {
		return nil, rollback
	}
	refusal, ok := errors.AsType[*pgconn.PgError](err)
	if err != nil && !ok {
		return nil, err
	}
	return refusal, nil
}
