package testdb

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/testcontainers/testcontainers-go"
	tcnetwork "github.com/testcontainers/testcontainers-go/network"
)

const (
	bouncerPort = "6432/tcp"
	bouncerFile = "/etc/pgbouncer/testdb.ini"
)

// PgBouncer starts a PgBouncer in front of a database and returns how to connect
// to the database through it. The mode is PgBouncer's pool_mode: "session",
// "transaction" or "statement"; everything else is as it comes. It is removed
// when the test ends.
//
// The PgBouncer that goes with PostgreSQL 15 knows no prepared statements in
// transaction mode: connect with default_query_exec_mode=exec there. Database
// "pgbouncer" is its console.
func PgBouncer(t testing.TB, db *DB, mode string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	c, url, err := db.server.bounce(ctx, db.Name, mode)
	if err != nil {
		t.Fatalf("testdb: start PgBouncer: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() && keepFailed() {
			return
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), removeTimeout)
		defer cancel()
		defer db.server.docker.Close()
		if err := db.server.docker.remove(ctx, c.GetContainerID()); err != nil {
			t.Errorf("testdb: remove PgBouncer: %v", err)
		}
	})
	return url
}

func (s *Server) bounce(ctx context.Context, database, mode string) (*testcontainers.DockerContainer, string, error) {
	defer s.docker.Close()
	ip, err := s.container.ContainerIP(ctx)
	if err != nil {
		return nil, "", fmt.Errorf("find the server's address: %w", err)
	}
	config := fmt.Sprintf(`[databases]
* = host=%s port=5432 user=%s password=%s
[pgbouncer]
listen_addr = *
listen_port = 6432
auth_type = any
admin_users = %s
pool_mode = %s
`, ip, superuser, password, superuser, mode)

	options := []testcontainers.ContainerCustomizer{
		testcontainers.WithCmd("pgbouncer", bouncerFile),
		testcontainers.WithExposedPorts(bouncerPort),
		testcontainers.WithFiles(testcontainers.ContainerFile{
			Reader:            strings.NewReader(config),
			ContainerFilePath: bouncerFile,
			FileMode:          0o644,
		}),
		// Its user in the one image that has PgBouncer.
		testcontainers.WithConfigModifier(func(c *container.Config) { c.User = superuser }),
		testcontainers.WithHostConfigModifier(func(c *container.HostConfig) {
			c.PortBindings = s.docker.publish(bouncerPort, 0)
		}),
	}
	if s.network != "" {
		options = append(options, tcnetwork.WithNetworkName([]string{"pgbouncer"}, s.network))
	}
	c, err := s.docker.run(ctx, s.image, options...)
	if err != nil {
		return nil, "", fmt.Errorf("%w (if %s has no pgbouncer in it, run `make image`)", err, s.image)
	}

	address, err := hostAddress(ctx, c, bouncerPort)
	url := databaseURL(address, database)
	if err != nil { // it may have ended by now
		err = fmt.Errorf("%w; the end of its log:\n%s", err, logTail(ctx, c))
	} else {
		err = s.docker.await(ctx, c, func(ctx context.Context) error {
			return ping(ctx, url+"&default_query_exec_mode=exec")
		})
	}
	if err != nil {
		return nil, "", errors.Join(err, s.docker.remove(context.WithoutCancel(ctx), c.GetContainerID()))
	}
	return c, url, nil
}
