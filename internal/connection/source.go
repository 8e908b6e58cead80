package connection

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
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
)

// errHook: whoever knows how to connect did not say.
var errHook = errors.New("BeforeConnectFunc failed")

// Source says how to connect. It is asked anew for every connection, so that a
// password, a certificate or hosts that were changed meanwhile are read.
type Source struct {
	// URL is a connection string as libpq takes it.
	URL string
	// BeforeConnectFunc may change the settings of a connection that is about to be
	// made, such as its password. Nil changes nothing.
	BeforeConnectFunc func(ctx context.Context, config *pgx.ConnConfig) error
}

// Config gives the settings for one connection.
func (s Source) Config(ctx context.Context) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(s.URL)
	if err != nil {
		return nil, err
	}
	if err := s.Refresh(ctx, config); err != nil {
		return nil, err
	}
	return config, nil
}

// Refresh brings settings that were made from the same connection string up to
// date, and adds what every connection of ours has.
func (s Source) Refresh(ctx context.Context, config *pgx.ConnConfig) error {
	fresh, err := pgx.ParseConfig(s.URL)
	if err != nil {
		return err
	}
	config.Host, config.Port, config.Fallbacks = fresh.Host, fresh.Port, fresh.Fallbacks
	config.User, config.Password, config.TLSConfig = fresh.User, fresh.Password, fresh.TLSConfig
	if config.ConnectTimeout = fresh.ConnectTimeout; config.ConnectTimeout == 0 {
		config.ConnectTimeout = hostTimeout
	}
	config.DialFunc = dialer(config.ConnectTimeout)
	config.Tracer = traced(config.Tracer)
	if s.BeforeConnectFunc != nil {
		ctx, cancel := context.WithTimeout(ctx, hookTimeout)
		defer cancel()
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
