//go:build !failpoint

package connection

import "github.com/jackc/pgx/v5"

// traced does nothing outside the builds that the tests make with -tags failpoint.
func traced(tracer pgx.QueryTracer) pgx.QueryTracer { return tracer }
