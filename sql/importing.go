package sql

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// PgCronServer is a server of which pg_cron's jobs are read.
type PgCronServer struct {
	Database string
	Role     string
	Port     int
	// TimeZone is the setting cron.timezone; empty if there is none.
	TimeZone string
	// Readable: there are jobs to read.
	Readable bool
	// RowSecurity: the role sees its own only.
	RowSecurity bool
}

// PgCronServer asks whether pg_cron's jobs can be read.
func (s *Statements) PgCronServer(ctx context.Context, db Querier) (PgCronServer, error) {
	return one[PgCronServer](ctx, db, "look for pg_cron", s.Text("pg_cron_server"), pgx.NamedArgs{})
}

// ListPgCronJobs reads pg_cron's jobs, each as a JSON object.
func (s *Statements) ListPgCronJobs(ctx context.Context, db Querier) ([][]byte, error) {
	rows, err := db.Query(ctx, s.Text("list_pg_cron_jobs"), pgx.NamedArgs{})
	if err != nil {
		return nil, fmt.Errorf("read cron.job: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	if err != nil {
		return nil, fmt.Errorf("read cron.job: %w", err)
	}
	return list, nil
}
