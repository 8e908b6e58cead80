package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// fixes are what mends what the server refuses, by SQLSTATE.
var fixes = map[string]string{ //nolint:gochecknoglobals // a table that nobody changes
	"28000": "check the user, and pg_hba.conf of the server: --database-url, DATABASE_URL or PGUSER",
	"28P01": "check the user and the password: --database-url, DATABASE_URL, or PGUSER and PGPASSWORD",
	"3D000": "create the database, or name another: --database-url, DATABASE_URL or PGDATABASE",
	"53300": "end sessions that nobody needs, or raise max_connections",
	"57P03": "wait until the server has started; see its log",
	"42501": "give the role the privilege; the checks of the group privileges say which",
	"57014": "raise the role's statement_timeout, or ask again when the server has less to do",
	"55P03": "ask again when nobody holds the lock: SELECT * FROM pg_locks WHERE NOT granted",
}

// diagnose is what an error means, as one line, and what mends it.
func diagnose(err error) (found, fix string) {
	var server *pgconn.PgError
	var connect *pgconn.ConnectError
	var network *net.OpError
	var timeout net.Error
	isConnect := errors.As(err, &connect)
	switch {
	case errors.As(err, &server):
		found = fmt.Sprintf("%s (SQLSTATE %s)", server.Message, server.Code)
		if fix = fixes[server.Code]; fix == "" {
			fix = server.Hint
		}
		if !isConnect {
			found = oneLine(err.Error())
		}
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		found, fix = "no answer in time", "check the address, and whether a firewall lets it through"
	case errors.As(err, &network):
		found, fix = network.Err.Error(), "start the server, or correct the address: --database-url, DATABASE_URL, or PGHOST and PGPORT"
	case isConnect:
		found = oneLine(cmp.Or(errors.Unwrap(connect), err).Error())
		if strings.Contains(found, "TLS") || strings.Contains(found, "certificate") {
			fix = "check sslmode and sslrootcert of the connection string, and the server's certificate"
		}
	default:
		found = oneLine(err.Error())
	}
	return found, fix
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

func plural[N int | int64](n N, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// about is a duration for people, given in seconds.
func about(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", d/time.Hour)
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d minutes", d/time.Minute)
	case d >= 1500*time.Millisecond:
		return fmt.Sprintf("%d s", d.Round(time.Second)/time.Second)
	}
	return "a second"
}

// quote is a name as SQL has it.
func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

// literal is a text as SQL has it.
func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
