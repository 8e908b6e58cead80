package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/systempromptio/scheduler/internal/connection"
	"github.com/systempromptio/scheduler/river/leader"
)

const (
	serverVersionMin = 140000

	// roundTripSlow is a round trip from which on batches take notably longer.
	roundTripSlow = 50 * time.Millisecond
	roundTrips    = 5

	// beginTimeout is how long a server may take to begin a transaction, with a new
	// connection.
	beginTimeout = 10 * time.Second

	noConnection = "the database cannot be reached"
)

// readOnly begins the transactions in which everything is asked. A survey looks, while
// one statement is under way, on a second connection whether it keeps others waiting.
type readOnly struct{ e *examination }

func (r readOnly) Begin(ctx context.Context) (pgx.Tx, error) {
	if r.e.isLost.Load() {
		return nil, errLost
	}
	beginCtx, cancel := context.WithTimeout(ctx, beginTimeout)
	defer cancel()
	tx, err := r.e.pool.BeginTx(beginCtx, pgx.TxOptions{BeginQuery: r.e.statements.Text("doctor_begin")})
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		r.e.isLost.Store(true)
	}
	r.e.notice(err)
	return tx, err
}

// errLost: the database was reached, and is not any more.
var errLost = errors.New("the connection was lost meanwhile")

// reachable says whether the database was reached, and has not been lost since.
func (e *examination) reachable() bool { return e.pool != nil && !e.isLost.Load() }

// notice looks at an error: where the database is away, it is not asked again, since each
// time would take as long.
func (e *examination) notice(err error) {
	if err != nil && connection.IsAway(err) {
		e.isLost.Store(true)
	}
}

// read asks in one transaction.
func (e *examination) read(ctx context.Context, fn func(ctx context.Context, tx pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return pgx.BeginFunc(ctx, readOnly{e}, func(tx pgx.Tx) error { return fn(ctx, tx) })
}

func (e *examination) source(url string) connection.Source {
	return connection.Source{URL: url, BeforeConnectFunc: e.config.BeforeConnectFunc}
}

// connect makes the checks of the connections, and the pool if there is one to make.
func (e *examination) connect(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*askTimeout)
	defer cancel()
	config := e.connectTo(ctx, "database_url", e.config.DatabaseURL)
	leaderConfig := config
	if e.config.LeaderDatabaseURL != "" {
		leaderConfig = e.connectTo(ctx, "leader_database_url", e.config.LeaderDatabaseURL)
	}
	if config == nil {
		e.skip(groupConnection, noConnection, "server_version", "primary", "encryption", "round_trip", "pooler")
		e.skip(groupClock, noConnection, "difference")
		return
	}
	if err := e.openPool(ctx); err != nil {
		e.isLost.Store(true)
		e.failed(groupConnection, "pool", err)
		return
	}
	e.serverItself(ctx)
	e.pooler(ctx, config, leaderConfig)
}

// connectTo says whether a database can be reached, and returns the settings of the
// connection if so.
func (e *examination) connectTo(ctx context.Context, name, url string) *pgx.ConnConfig {
	config, err := e.source(url).Config(ctx)
	if err != nil {
		found, fix := diagnose(err)
		e.add(groupConnection, name, StatusProblem, found).fix(cmp.Or(fix, "correct "+name))
		return nil
	}
	// Through a pooler, another client's prepared statement may be in the way.
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	begin := time.Now()
	conn, err := pgx.ConnectConfig(ctx, config.Copy())
	if err != nil {
		found, fix := diagnose(err)
		e.add(groupConnection, name, StatusProblem, address(config)+": "+found).fix(cmp.Or(fix, "correct "+name))
		return nil
	}
	took := time.Since(begin)
	closeConn(ctx, conn)
	e.add(groupConnection, name, StatusOK, fmt.Sprintf("%s, connected in %v", address(config), took.Round(time.Millisecond)))
	return config
}

func (e *examination) openPool(ctx context.Context) error {
	source := e.source(e.config.DatabaseURL)
	config, err := pgxpool.ParseConfig(source.URL)
	if err != nil {
		return fmt.Errorf("database_url: %w", err)
	}
	config.MaxConns = connections
	config.BeforeConnect = source.Refresh
	config.ConnConfig.RuntimeParams["application_name"] = "scheduler doctor"
	// Behind a pooler in transaction mode, named prepared statements may be another
	// client's, or gone.
	config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	e.pool, err = pgxpool.NewWithConfig(ctx, config)
	return err
}

// serverItself looks at the server and the way to it.
func (e *examination) serverItself(ctx context.Context) {
	conn, err := e.pool.Acquire(ctx)
	if err != nil {
		e.isLost.Store(true)
		e.failed(groupConnection, "server_version", err)
		return
	}
	defer conn.Release()
	before := time.Now()
	e.session, err = e.statements.DoctorSession(ctx, conn)
	after := time.Now()
	if err != nil {
		e.isLost.Store(true)
		e.failed(groupConnection, "server_version", err)
		return
	}
	e.report.Database = e.session.Database
	if e.session.ServerVersion < serverVersionMin {
		e.add(groupConnection, "server_version", StatusProblem, fmt.Sprintf("PostgreSQL %s; 14 is the oldest that works", e.session.ServerVersionText)).
			fix("upgrade the server to a version that is supported")
	} else {
		e.add(groupConnection, "server_version", StatusOK, "PostgreSQL "+e.session.ServerVersionText)
	}
	e.primary()
	// Of several hosts, the one that was taken.
	socket := conn.Conn().PgConn().Conn()
	_, encrypted := socket.(*tls.Conn)
	switch {
	case encrypted:
		e.add(groupConnection, "encryption", StatusOK, "the connection is encrypted (TLS)")
	case isLocal(socket.RemoteAddr()):
		e.add(groupConnection, "encryption", StatusOK, "the connection does not leave this machine")
	default:
		e.add(groupConnection, "encryption", StatusNote, "the connection to "+socket.RemoteAddr().String()+" is not encrypted: passwords and rows can be read on the way").
			fix("add sslmode=verify-full to the connection string, and ssl = on to the server's configuration")
	}
	e.roundTrip(ctx, conn.Conn())
	// Once more: the first time, the statement had to be described.
	begin := time.Now()
	if now, err := e.statements.Clock(ctx, conn); err == nil {
		before, after, e.session.Now = begin, time.Now(), now
	}
	e.report.add(clockCheck(before, after, e.session.Now))
}

func (e *examination) primary() {
	const fix = "connect to the primary, for example with several hosts and target_session_attrs=read-write"
	role := fmt.Sprintf("ALTER ROLE %s RESET default_transaction_read_only; ALTER DATABASE %s RESET default_transaction_read_only",
		quote(e.session.Role), quote(e.session.Database))
	switch {
	case e.session.InRecovery:
		e.add(groupConnection, "primary", StatusProblem, "the server is a read-only standby").fix(fix)
	case e.session.ReadOnly:
		e.add(groupConnection, "primary", StatusProblem, "transactions are read-only: default_transaction_read_only is on").fix(role)
	default:
		e.add(groupConnection, "primary", StatusOK, "the server is a primary, and can be written to")
	}
}

func (e *examination) roundTrip(ctx context.Context, conn *pgx.Conn) {
	var best time.Duration
	for range roundTrips {
		begin := time.Now()
		if err := conn.Ping(ctx); err != nil {
			e.failed(groupConnection, "round_trip", err)
			return
		}
		if took := time.Since(begin); best == 0 || took < best {
			best = took
		}
	}
	text := fmt.Sprintf("a round trip takes %v", best.Round(10*time.Microsecond))
	if best > roundTripSlow {
		e.add(groupConnection, "round_trip", StatusNote, text+": each batch of a cleanup makes several").fix("run replicas near their database")
		return
	}
	e.add(groupConnection, "round_trip", StatusOK, text)
}

// pooler says whether sessions are sessions.
func (e *examination) pooler(ctx context.Context, config, leaderConfig *pgx.ConnConfig) {
	const fix = "set leader_database_url (SCHEDULER_LEADER_DATABASE_URL) to a direct connection to this database"
	if leaderConfig == nil {
		e.skip(groupConnection, "leader_database_url does not connect", "pooler", "same_database")
		return
	}
	err := leader.CheckSession(ctx, leaderConfig, e.statements)
	switch {
	case errors.Is(err, leader.ErrPooled):
		e.add(groupConnection, "pooler", StatusProblem, address(leaderConfig)+" leads through a pooler in transaction or statement mode: the leader's lock needs a session of its own").fix(fix)
	case err != nil:
		e.failed(groupConnection, "pooler", err)
	case config == leaderConfig:
		e.add(groupConnection, "pooler", StatusOK, "a session is a session: no pooler, or one in session mode")
	default:
		e.behindPooler(ctx, config)
	}
	if config != leaderConfig {
		e.sameDatabase(ctx, leaderConfig)
	}
}

func (e *examination) behindPooler(ctx context.Context, config *pgx.ConnConfig) {
	err := leader.CheckSession(ctx, config, e.statements)
	switch {
	case errors.Is(err, leader.ErrPooled):
		e.add(groupConnection, "pooler", StatusNote, "database_url leads through a pooler in transaction mode, leader_database_url does not: replicas look for work twice a second instead of hearing of it")
	case err != nil:
		e.failed(groupConnection, "pooler", err)
	default:
		e.add(groupConnection, "pooler", StatusOK, "database_url and leader_database_url both give sessions")
	}
}

func (e *examination) sameDatabase(ctx context.Context, leaderConfig *pgx.ConnConfig) {
	seen, err := e.marked(ctx, leaderConfig)
	switch {
	case err != nil:
		e.failed(groupConnection, "same_database", err)
	case !seen:
		e.add(groupConnection, "same_database", StatusProblem, "leader_database_url leads to another database than database_url: "+address(leaderConfig)).
			fix("let both lead to the same database of the same server")
	default:
		e.add(groupConnection, "same_database", StatusOK, "database_url and leader_database_url lead to the same database")
	}
}

// marked takes a lock over one connection and looks for it over the other.
func (e *examination) marked(ctx context.Context, leaderConfig *pgx.ConnConfig) (seen bool, err error) {
	conn, err := pgx.ConnectConfig(ctx, leaderConfig.Copy())
	if err != nil {
		return false, err
	}
	defer closeConn(ctx, conn)
	mark := rand.Int32()
	if err := e.statements.TakeMark(ctx, conn, mark); err != nil {
		return false, err
	}
	return e.statements.SeeMark(ctx, e.pool, mark)
}

// clockTolerance is a difference of clocks that people do not notice.
const clockTolerance = time.Second

// clockCheck compares this machine's clock, before and after asking, with the database's.
func clockCheck(before, after, database time.Time) Check {
	c := Check{Group: groupClock, Name: "difference", Status: StatusOK}
	var off time.Duration
	switch {
	case database.Before(before):
		off = database.Sub(before)
	case database.After(after):
		off = database.Sub(after)
	}
	c.Found = "this machine's clock and the database's are the same"
	if off.Abs() <= clockTolerance {
		return c
	}
	where := "ahead of"
	if off < 0 {
		where = "behind"
	}
	c.Status = StatusWarning
	c.Found = fmt.Sprintf("the database's clock is %v %s this machine's; the database's decides when jobs run, logs show this one's", off.Abs().Round(time.Millisecond), where)
	c.Fix = "synchronise both by NTP (chronyc tracking, timedatectl)"
	return c
}

// address is what may be said of a connection: no password.
func address(config *pgx.ConnConfig) string {
	return fmt.Sprintf("database %q at %s as user %q", cmp.Or(config.Database, config.User), hostPort(config), config.User)
}

func hostPort(config *pgx.ConnConfig) string {
	if strings.HasPrefix(config.Host, "/") {
		return config.Host
	}
	return net.JoinHostPort(config.Host, fmt.Sprint(config.Port))
}

// isLocal says whether what is sent there does not leave the machine.
func isLocal(address net.Addr) bool {
	tcp, ok := address.(*net.TCPAddr)
	return !ok || tcp.IP.IsLoopback()
}

func closeConn(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = conn.Close(ctx) // only reading was done
}
