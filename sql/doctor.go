package sql

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler/jobs"
)

// DoctorSession is what a session says of itself.
type DoctorSession struct {
	// ServerVersion is server_version_num.
	ServerVersion     int
	ServerVersionText string
	Database          string
	Role              string
	InRecovery        bool
	// ReadOnly: default_transaction_read_only is on.
	ReadOnly bool
	// Now is the database's clock.
	Now time.Time
}

// DoctorSchemaAccess is whether a role may look into the scheduler's schema.
type DoctorSchemaAccess struct {
	SchemaExists bool
	MayUse       bool
	// MayCreate: the role may make the schema.
	MayCreate bool
}

// DoctorPrivilege is a privilege that a role lacks, or needs, on an object.
type DoctorPrivilege struct {
	Object    string
	Privilege string
}

// DoctorSetting is a setting of the server as a session has it.
type DoctorSetting struct {
	Name    string
	Setting string
	Unit    string
	// Source is where it was set, as in pg_settings.
	Source string
}

// DoctorCapacity counts connections. A limit of -1 is none.
type DoctorCapacity struct {
	MaxConnections int
	// Reserved are for superusers and for pg_use_reserved_connections.
	Reserved int
	// Used are all of the server's clients, UsedByUs our replicas' in this database.
	Used          int
	UsedByUs      int
	RoleLimit     int
	DatabaseLimit int
	IsSuperuser   bool
	// SeesAll: the role sees the sessions of others.
	SeesAll bool
}

// DoctorSnapshot is a session or prepared transaction that has held a snapshot for long.
type DoctorSnapshot struct {
	// What is "session" or "prepared"; ID its pid, or its gid.
	What string
	ID   string
	Who  string
	// Age is in seconds.
	Age float64
}

// DoctorSlot is a replication slot, or a standby, that keeps dead rows.
type DoctorSlot struct {
	// What is "slot" or "standby".
	What string
	Name string
	// Age is in transactions.
	Age int64
}

// DoctorFailing is a job whose newest runs have failed.
type DoctorFailing struct {
	JobName   string
	Runs      int64
	LastID    int64
	LastError string
}

// DoctorRun is a run that should have ended. Durations are in seconds.
type DoctorRun struct {
	ID        int64
	JobName   string
	Status    jobs.Status
	ReplicaID string
	Attempt   int
	// Ran is nil if it has not begun, Timeout if nobody declares the job.
	Ran     *float64
	Age     float64
	Timeout *float64
	// IsOrphan: it is running with a replica that does not live.
	IsOrphan bool
}

// DoctorRate is what a job's newest runs have changed, and how long they took.
type DoctorRate struct {
	JobName      string
	RowsAffected int64
	Seconds      float64
}

// DoctorSession asks a session about itself.
func (s *Statements) DoctorSession(ctx context.Context, db Querier) (DoctorSession, error) {
	return one[DoctorSession](ctx, db, "ask the server about the session", s.Text("doctor_session"), pgx.NamedArgs{})
}

// DoctorSchemaAccess asks whether the role may look into the schema.
func (s *Statements) DoctorSchemaAccess(ctx context.Context, db Querier) (DoctorSchemaAccess, error) {
	return one[DoctorSchemaAccess](ctx, db, "look for the schema", s.Text("doctor_schema_access"), pgx.NamedArgs{"schema": s.schema})
}

// DoctorMissingPrivileges lists which of some privileges on tables the role lacks. Tables
// that do not exist are left out, partitions are added.
func (s *Statements) DoctorMissingPrivileges(ctx context.Context, db Querier, wanted []DoctorPrivilege) ([]DoctorPrivilege, error) {
	tables, privileges := make([]string, len(wanted)), make([]string, len(wanted))
	for i, w := range wanted {
		tables[i], privileges[i] = w.Object, w.Privilege
	}
	return collect[DoctorPrivilege](ctx, db, "look at the privileges on tables", s.Text("doctor_missing_privileges"), pgx.NamedArgs{
		"tables": tables, "privileges": privileges,
	})
}

// DoctorMissingInSchema lists which functions and sequences of the schema, of those that
// are named, the role may not use.
func (s *Statements) DoctorMissingInSchema(ctx context.Context, db Querier, names []string) ([]DoctorPrivilege, error) {
	args := pgx.NamedArgs{"schema": s.schema, "names": names}
	functions, err := collect[DoctorPrivilege](ctx, db, "look at the privileges on functions", s.Text("doctor_missing_functions"), args)
	if err != nil {
		return nil, err
	}
	sequences, err := collect[DoctorPrivilege](ctx, db, "look at the privileges on sequences", s.Text("doctor_missing_sequences"), args)
	return append(functions, sequences...), err
}

// DoctorSettings reads settings by name; those that the server does not know are left
// out.
func (s *Statements) DoctorSettings(ctx context.Context, db Querier, names []string) (map[string]DoctorSetting, error) {
	list, err := collect[DoctorSetting](ctx, db, "read the server's settings", s.Text("doctor_settings"), pgx.NamedArgs{"names": names})
	settings := make(map[string]DoctorSetting, len(list))
	for _, setting := range list {
		settings[setting.Name] = setting
	}
	return settings, err
}

// DoctorCanCheckClients returns an error if the server's system cannot tell that a client
// is gone.
func (s *Statements) DoctorCanCheckClients(ctx context.Context, tx pgx.Tx) error {
	return do(ctx, tx, "set client_connection_check_interval", s.Text("doctor_can_check_clients"), pgx.NamedArgs{})
}

// DoctorCapacity counts connections.
func (s *Statements) DoctorCapacity(ctx context.Context, db Querier) (DoctorCapacity, error) {
	return one[DoctorCapacity](ctx, db, "count the connections", s.Text("doctor_capacity"), pgx.NamedArgs{})
}

// DoctorOldSnapshots lists who has held a snapshot for longer than a time.
func (s *Statements) DoctorOldSnapshots(ctx context.Context, db Querier, older time.Duration) ([]DoctorSnapshot, error) {
	return collect[DoctorSnapshot](ctx, db, "look for old snapshots", s.Text("doctor_old_snapshots"), pgx.NamedArgs{"older": older})
}

// DoctorOldSlots lists replication slots and standbys that hold back more than so many transactions.
func (s *Statements) DoctorOldSlots(ctx context.Context, db Querier, older int64) ([]DoctorSlot, error) {
	return collect[DoctorSlot](ctx, db, "look for old replication slots", s.Text("doctor_old_slots"), pgx.NamedArgs{"older": older})
}

// DoctorWithoutAutovacuum lists which of some tables, and of their partitions, autovacuum
// leaves alone.
func (s *Statements) DoctorWithoutAutovacuum(ctx context.Context, db Querier, tables []string) ([]string, error) {
	rows, err := db.Query(ctx, s.Text("doctor_tables"), pgx.NamedArgs{"tables": tables})
	if err != nil {
		return nil, fmt.Errorf("look at the tables' options: %w", err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("look at the tables' options: %w", err)
	}
	return list, nil
}

// DoctorLed says whether anybody has ever led.
func (s *Statements) DoctorLed(ctx context.Context, db Querier) (bool, error) {
	return call[bool](ctx, db, "read who led", s.Text("doctor_led"), pgx.NamedArgs{})
}

// DoctorFailing lists jobs whose newest n runs have all failed.
func (s *Statements) DoctorFailing(ctx context.Context, db Querier, n int) ([]DoctorFailing, error) {
	return collect[DoctorFailing](ctx, db, "look for jobs that fail", s.Text("doctor_failing"), pgx.NamedArgs{"max": n})
}

// DoctorOldRuns lists runs that should have ended, twenty at most.
func (s *Statements) DoctorOldRuns(ctx context.Context, db Querier) ([]DoctorRun, error) {
	return collect[DoctorRun](ctx, db, "look for runs that do not end", s.Text("doctor_old_runs"), pgx.NamedArgs{})
}

// DoctorRates reads how fast each job's newest runs were; jobs that have changed nothing
// are left out.
func (s *Statements) DoctorRates(ctx context.Context, db Querier) ([]DoctorRate, error) {
	return collect[DoctorRate](ctx, db, "read how fast runs were", s.Text("doctor_rates"), pgx.NamedArgs{})
}

func one[T any](ctx context.Context, db Querier, what, statement string, args pgx.NamedArgs) (T, error) {
	var zero T
	list, err := collect[T](ctx, db, what, statement, args)
	if err == nil && len(list) != 1 {
		err = fmt.Errorf("%s: %d rows", what, len(list))
	}
	if err != nil {
		return zero, err
	}
	return list[0], nil
}
