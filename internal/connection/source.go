package connection

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// hostTimeout bounds the connection to one of several hosts, unless the
	// connection string has a connect_timeout: a host that is down must leave time
	// for the next one.
	hostTimeout = 3 * time.Second

	// peerTimeout is how long what was sent may stay unacknowledged before the
	// connection counts as dead. Without it, the kernel goes on for a quarter of an
	// hour, and waits for up to a minute longer than the network was cut.
	peerTimeout = 4 * time.Second

	// hookTimeout bounds the hook, and spare is for hosts that have several
	// addresses, each of which gets its time.
	hookTimeout = 10 * time.Second
	spare       = 10 * time.Second

	// cacheCapacity is how many statements a connection remembers, as pgx has it.
	cacheCapacity = 512
)

// errHook: whoever knows how to connect did not say.
var errHook = errors.New("the hook before a connection failed")

// Source says how to connect. It is asked anew for every connection, so that a
// password, a certificate or hosts that were changed meanwhile are read.
type Source struct {
	// URL is a connection string as libpq takes it.
	URL string
	// Base, if not nil, stands for URL: how a pool connects that somebody else has made.
	// Its hook before a connection is asked as well; how it dials is left alone.
	Base *pgxpool.Config
	// BeforeConnectFunc may change the settings of a connection that is about to be
	// made, such as its password. Nil changes nothing.
	BeforeConnectFunc func(ctx context.Context, config *pgx.ConnConfig) error
}

// Config gives the settings for one connection.
func (s Source) Config(ctx context.Context) (*pgx.ConnConfig, error) {
	config, err := s.PoolConfig()
	if err != nil {
		return nil, err
	}
	if err := s.Refresh(ctx, config.ConnConfig); err != nil {
		return nil, err
	}
	return config.ConnConfig, nil
}

// PoolConfig gives the settings for a pool of ours, whose connections are each made with
// what is in force by then.
func (s Source) PoolConfig() (config *pgxpool.Config, err error) {
	if s.Base != nil {
		config = s.Base.Copy()
		config.AfterConnect, config.PrepareConn, config.AfterRelease, config.BeforeClose = nil, nil, nil, nil
		config.BeforeAcquire = nil //nolint:staticcheck // deprecated, and yet somebody may have set it
		config.MinConns, config.MinIdleConns = 0, 0
		// Nobody's tracer is to be told of our heartbeats.
		config.ConnConfig.Tracer, config.ConnConfig.OnNotification, config.ConnConfig.OnNotice = nil, nil, nil
		config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheStatement
	} else if config, err = pgxpool.ParseConfig(s.URL); err != nil {
		return nil, err
	}
	// Ours are used with either cache, whoever has switched one off for what they do.
	for _, capacity := range []*int{&config.ConnConfig.StatementCacheCapacity, &config.ConnConfig.DescriptionCacheCapacity} {
		if *capacity <= 0 {
			*capacity = cacheCapacity
		}
	}
	config.BeforeConnect = s.Refresh
	return config, nil
}

// Refresh brings settings that were made from the same source up to date, and adds what
// every connection of ours has.
func (s Source) Refresh(ctx context.Context, config *pgx.ConnConfig) error {
	if s.Base == nil {
		fresh, err := pgx.ParseConfig(s.URL)
		if err != nil {
			return err
		}
		config.Host, config.Port, config.Fallbacks = fresh.Host, fresh.Port, fresh.Fallbacks
		config.User, config.Password, config.TLSConfig = fresh.User, fresh.Password, fresh.TLSConfig
		config.ConnectTimeout = fresh.ConnectTimeout
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = hostTimeout
	}
	if s.Base == nil {
		config.DialFunc = dialer(config.ConnectTimeout)
	}
	config.Tracer = traced(config.Tracer)
	return s.ask(ctx, config)
}

// ask asks the hooks.
func (s Source) ask(ctx context.Context, config *pgx.ConnConfig) error {
	ctx, cancel := context.WithTimeout(ctx, hookTimeout)
	defer cancel()
	if s.Base != nil && s.Base.BeforeConnect != nil {
		if err := s.Base.BeforeConnect(ctx, config); err != nil {
			return fmt.Errorf("%w: %w; it is asked again", errHook, err)
		}
	}
	if s.BeforeConnectFunc != nil {
		if err := s.BeforeConnectFunc(ctx, config); err != nil {
			return fmt.Errorf("%w: %w; it is asked again", errHook, err)
		}
	}
	return nil
}

// Timeout is how long the connection to all the hosts of a configuration may
// take.
func Timeout(config *pgx.ConnConfig) time.Duration {
	return config.ConnectTimeout*time.Duration(1+len(config.Fallbacks)) + spare
}

func dialer(timeout time.Duration) func(ctx context.Context, network, address string) (net.Conn, error) {
	d := &net.Dialer{
		Timeout:         timeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 2 * time.Second, Interval: time.Second, Count: 3},
		Control:         limitUnacknowledged,
	}
	return d.DialContext
}

// IsWritable says whether a connection of a pool may be used again. One that was made
// while the database was read-only stays so after the database is not. The server
// reports both parameters by itself.
func IsWritable(conn *pgx.Conn) bool {
	return conn.PgConn().ParameterStatus("default_transaction_read_only") != "on" && conn.PgConn().ParameterStatus("in_hot_standby") != "on"
}
