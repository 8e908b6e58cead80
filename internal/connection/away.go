package connection

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

// IsAway says whether an error means that the database cannot be used now, rather
// than that it, or we, refuse what was asked: it was not reached or did not answer, or
// it says so itself. SQLSTATE classes 08 (connection), 53 (disk full, too many
// connections; not 53400, a limit of the session's own), 57P (shutdown, crash, start)
// and 58 (system), and 25006, read-only (PostgreSQL, appendix A).
func IsAway(err error) bool {
	if code := codeOf(err); code != "" {
		switch code {
		case "53400":
			return false
		case "25006":
			return true
		}
		return strings.HasPrefix(code, "08") || strings.HasPrefix(code, "53") || strings.HasPrefix(code, "57P") || strings.HasPrefix(code, "58")
	}
	return isUnreached(err)
}

// IsServerAway says whether the server has said by itself that it cannot be used now.
func IsServerAway(err error) bool { return codeOf(err) != "" && IsAway(err) }

// IsHeldUp says whether the server could not do for now what it was asked to:
// somebody has locked it (55P03), it took too long (57014), or resources are short
// (class 53).
func IsHeldUp(err error) bool {
	code := codeOf(err)
	return code == "55P03" || code == "57014" || strings.HasPrefix(code, "53")
}

// codeOf is the SQLSTATE of an error of the server's, else empty.
func codeOf(err error) string {
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pgErr.Code
	}
	return ""
}

// isUnreached says whether an error is one of the network, or of whoever tells us how
// to connect. A certificate that does not hold stays so.
func isUnreached(err error) bool {
	if errors.Is(err, context.Canceled) {
		return false
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return false
	}
	if _, ok := errors.AsType[*pgconn.ParseConfigError](err); ok {
		return false
	}
	for _, target := range []error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, context.DeadlineExceeded, errHook} {
		if errors.Is(err, target) {
			return true
		}
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	if _, ok := errors.AsType[syscall.Errno](err); ok {
		return true
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	// What pgx says of a connection that has failed before.
	return pgconn.SafeToRetry(err)
}
