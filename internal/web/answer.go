package web

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs"
)

// writeJSON writes a value as the whole answer.
func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(value) //nolint:errchkjson // whoever asked may have gone
}

// wantsJSON says whether a request is a program's.
func wantsJSON(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, apiPath+"/") }

// errorAnswer is an error as the API tells it.
type errorAnswer struct {
	Error struct {
		// Code is for programs, Message for people.
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

// badRequestError is a request that makes no sense.
type badRequestError struct{ err error }

func (e *badRequestError) Error() string { return e.err.Error() }

func (e *badRequestError) Unwrap() error { return e.err }

// refusalOf is an error as it is told: what the sender can mend in full, the rest
// without the details that only the log is for.
func refusalOf(err error) *refusal {
	var tooLarge *http.MaxBytesError
	var bad *badRequestError
	var pgErr *pgconn.PgError
	switch {
	case errors.As(err, &tooLarge):
		return &refusal{http.StatusRequestEntityTooLarge, "too_large", "the body is longer than 64 kB"}
	case errors.As(err, &bad):
		return &refusal{http.StatusBadRequest, "bad_request", err.Error()}
	case errors.Is(err, jobs.ErrUnknownJob):
		return &refusal{http.StatusNotFound, "unknown_job", err.Error()}
	case errors.Is(err, scheduler.ErrRunNotFound):
		return &refusal{http.StatusNotFound, "run_not_found", err.Error()}
	case errors.Is(err, scheduler.ErrBackfillNotFound):
		return &refusal{http.StatusNotFound, "backfill_not_found", err.Error()}
	case errors.Is(err, scheduler.ErrTableAbsent), errors.Is(err, scheduler.ErrColumnAbsent):
		return &refusal{http.StatusNotFound, "table_absent", err.Error()}
	case errors.Is(err, jobs.ErrInvalidParameter):
		return &refusal{http.StatusBadRequest, "invalid_parameter", err.Error()}
	case errors.Is(err, jobs.ErrInvalidSchedule):
		return &refusal{http.StatusBadRequest, "invalid_schedule", err.Error()}
	case errors.Is(err, scheduler.ErrBadArgument):
		return &refusal{http.StatusBadRequest, "bad_argument", err.Error()}
	case errors.Is(err, scheduler.ErrJobNotRunnable):
		return &refusal{http.StatusConflict, "not_runnable", err.Error()}
	case errors.Is(err, scheduler.ErrSchema):
		return &refusal{http.StatusServiceUnavailable, "schema", err.Error()}
	case errors.As(err, &pgErr) && (pgErr.Code == "22021" || pgErr.Code == "22P05"): // character_not_in_repertoire, untranslatable_character
		return &refusal{http.StatusBadRequest, "bad_request", "a text in it holds NUL or bytes that are not UTF-8"}
	case errors.As(err, &pgErr) && pgErr.Code == "42501":
		return &refusal{http.StatusForbidden, "permission_denied", "the replica's database role may not do this: " + pgErr.Message}
	case errors.Is(err, context.DeadlineExceeded):
		return &refusal{http.StatusServiceUnavailable, "timeout", "the database does not answer in time"}
	}
	return &refusal{http.StatusServiceUnavailable, "unavailable", "the database cannot be used now: see the replica's log, or: scheduler doctor"}
}

// fail answers with an error, and logs what the answer leaves out.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	refused := refusalOf(err)
	if refused.status >= http.StatusInternalServerError && r.Context().Err() == nil {
		s.config.Logger.WarnContext(r.Context(), "a request over HTTP failed", slog.String("path", r.URL.Path), slog.Any("error", err))
	}
	s.site.writeRefusal(w, r, refused)
}
