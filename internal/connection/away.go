package connection

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
)

// IsAway says whether an error of the database means that it cannot be used now,
// rather than that it refuses what was asked: it was not reached or did not
// answer, or it says so itself. SQLSTATE classes 08 (connection), 53 (resources:
// disk full, too many connections), 57P (shutdown, crash, start) and 58 (system),
// and 25006, read-only (PostgreSQL, appendix A).
func IsAway(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		var parseErr *pgconn.ParseConfigError
		return !errors.As(err, &parseErr)
	}
	switch pgErr.Code[:2] {
	case "08", "53", "58":
		return true
	case "57":
		return pgErr.Code != "57014" // query_canceled
	}
	return pgErr.Code == "25006"
}
