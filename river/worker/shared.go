package worker

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/systempromptio/scheduler/internal/connection"
)

// probeInterval is how often a shared pool is asked whether the database is back.
const probeInterval = time.Second

// A pool that is shared with the application has neither our tracer nor our settings. What
// depends on them is done here instead: each transaction brings its settings along, and
// when something has gone wrong the pool is asked whether the database is there.

// settingsOf is what a transaction on a shared pool begins with, beside BEGIN; the name
// under which the leader finds the transactions of a replica that is gone is among it.
func settingsOf(config Config) string {
	text := ";\n" + strings.ReplaceAll(config.Statements.Text("transaction_name"), "{replica_id}", config.ReplicaID)
	if !config.SettingsRefused {
		text += ";\n" + config.Statements.Text("transaction_settings")
	}
	return text
}

// probeShared asks a shared pool whether the database is there, each time that there is
// doubt, until it is. It returns when ctx ends.
func (s *Service) probeShared(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.config.Watch.doubted:
		}
		for s.probe(ctx); s.config.Watch.outage.Ongoing(); s.probe(ctx) {
			select {
			case <-ctx.Done():
				return
			case <-time.After(probeInterval):
			}
		}
	}
}

func (s *Service) probe(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, listenTimeout)
	defer cancel()
	dropReadOnly(ctx, s.config.Pool)
	stat := s.config.Pool.Stat()
	full := stat.AcquiredConns() >= stat.MaxConns()
	err := s.config.Pool.Ping(ctx)
	switch {
	case err == nil:
		s.config.Watch.outage.Well(ctx)
	case full:
		s.config.Logger.WarnContext(ctx, "every connection of the pool is in use; runs wait for one: raise its MaxConns", slog.Int("max_conns", int(stat.MaxConns())))
	case connection.IsAway(err):
		s.config.Watch.saw(ctx, err)
	}
}

// dropReadOnly closes the idle connections that cannot be written on any more: see
// connection.IsWritable.
func dropReadOnly(ctx context.Context, pool *pgxpool.Pool) {
	for _, conn := range pool.AcquireAllIdle(ctx) {
		if !connection.IsWritable(conn.Conn()) {
			_ = conn.Conn().Close(ctx) // the pool makes another
		}
		conn.Release()
	}
}
