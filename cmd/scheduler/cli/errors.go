package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/internal/config"
	"github.com/systempromptio/scheduler/internal/devdb"
	"github.com/systempromptio/scheduler/internal/importing"
	"github.com/systempromptio/scheduler/jobs"
)

// The exit codes: what a script can tell apart. "Refused" is what somebody must
// change first, "failed" what may go well the next time.
const (
	exitDone    = 0
	exitFailed  = 1
	exitRefused = 2
	// exitRunsLeft: a replica ended as it was asked to, and others go on with runs.
	exitRunsLeft = 3
	// exitJobStuck: a replica ended as it was asked to, though a job did not return.
	exitJobStuck = 4
	// exitSignal and the signal's number: ended at once by a second signal, as a shell
	// has it.
	exitSignal = 128
)

// usageError is a command line that was not understood.
type usageError struct {
	command *cobra.Command
	err     error
}

func (e *usageError) Error() string { return e.err.Error() }

func (e *usageError) Unwrap() error { return e.err }

// refusedError is bad input that no other package has a name for.
type refusedError struct{ err error }

func (e *refusedError) Error() string { return e.err.Error() }

func (e *refusedError) Unwrap() error { return e.err }

func refused(format string, args ...any) error {
	return &refusedError{err: fmt.Errorf(format, args...)}
}

func unknownCommand(parent *cobra.Command, name string) error {
	const distance = 2
	parent.SuggestionsMinimumDistance = distance
	text := fmt.Sprintf("unknown command %q for %q", name, parent.CommandPath())
	if suggestions := parent.SuggestionsFor(name); len(suggestions) > 0 {
		text += "; did you mean " + strings.Join(suggestions, " or ") + "?"
	}
	return &usageError{command: parent, err: errors.New(text)}
}

// flagError says of a value that is no number and no boolean what would be one, rather
// than which function could not read it.
func flagError(err error) error {
	invalid, ok := errors.AsType[*pflag.InvalidValueError](err)
	if !ok {
		return err
	}
	if _, ok := errors.AsType[*strconv.NumError](err); !ok {
		return err
	}
	flag, problem := invalid.GetFlag(), "must be a whole number"
	switch {
	case flag.Value.Type() == "bool":
		problem = "must be true or false"
	case flag.Value.Type() == "float64":
		problem = "must be a number"
	case errors.Is(err, strconv.ErrRange):
		problem = "is far out of range"
	}
	return fmt.Errorf("invalid argument %q for %q flag: %s", invalid.GetValue(), "--"+flag.Name, problem)
}

// noArgs, oneArg and so on say what arguments a command takes.

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return &usageError{command: cmd, err: fmt.Errorf("%q takes no argument, but was given %q", cmd.CommandPath(), args[0])}
	}
	return nil
}

func oneArg(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch len(args) {
		case 0:
			return &usageError{command: cmd, err: fmt.Errorf("%q needs %s", cmd.CommandPath(), what)}
		case 1:
			return nil
		}
		return &usageError{command: cmd, err: fmt.Errorf("%q takes %s only, but was also given %q", cmd.CommandPath(), what, args[1])}
	}
}

// partialError is a refusal after something was changed.
type partialError struct{ err error }

func (e *partialError) Error() string { return e.err.Error() }

func (e *partialError) Unwrap() error { return e.err }

// isRefused says whether an error is about something that somebody must change.
func isRefused(err error) bool {
	for _, sentinel := range []error{
		scheduler.ErrSchema, scheduler.ErrPrivilege, scheduler.ErrStandby, scheduler.ErrPooled, scheduler.ErrUnsupportedServer,
		scheduler.ErrJobNotRunnable, scheduler.ErrBadArgument, scheduler.ErrRunNotFound, scheduler.ErrBackfillNotFound,
		scheduler.ErrTableAbsent, scheduler.ErrColumnAbsent,
		jobs.ErrUnknownJob, jobs.ErrInvalidParameter, jobs.ErrInvalidSchedule,
		devdb.ErrInUse, devdb.ErrNoPostgres, importing.ErrNoPgCron,
	} {
		if errors.Is(err, sentinel) {
			return true
		}
	}
	var usage *usageError
	var refusal *refusedError
	var configuration config.Errors
	var field *scheduler.ConfigError
	var parse *pgconn.ParseConfigError
	if errors.As(err, &usage) || errors.As(err, &refusal) || errors.As(err, &configuration) || errors.As(err, &field) || errors.As(err, &parse) {
		return true
	}
	var server *pgconn.PgError
	return errors.As(err, &server) && refusals[server.Code] != ""
}

// refusals are the server's answers after which trying again is of no use, by
// SQLSTATE, with what to do about it.
var refusals = map[string]string{ //nolint:gochecknoglobals // a table that nobody changes
	"28000": "check the user: --database-url, DATABASE_URL or PGUSER",                                     // invalid_authorization_specification
	"28P01": "check the user and the password: --database-url, DATABASE_URL, or PGUSER and PGPASSWORD",    // invalid_password
	"3D000": "create the database, or name another: --database-url, DATABASE_URL or PGDATABASE",           // invalid_catalog_name
	"42501": "give the user the privilege (scheduler roles writes the SQL), or connect as another",        // insufficient_privilege
	"25006": "connect to the primary, for example with several hosts and target_session_attrs=read-write", // read_only_sql_transaction
}

func exitCode(err error) int {
	if _, ok := errors.AsType[*partialError](err); !ok && isRefused(err) {
		return exitRefused
	}
	if errors.Is(err, scheduler.ErrJobStuck) {
		return exitJobStuck
	}
	if errors.Is(err, scheduler.ErrRunsLeft) {
		return exitRunsLeft
	}
	return exitFailed
}

// writeError writes an error for people: one line, but one for each mistake in a
// configuration.
func writeError(w io.Writer, err error) {
	var configuration config.Errors
	if errors.As(err, &configuration) && len(configuration) > 1 {
		fmt.Fprintf(w, "scheduler: the configuration has %d mistakes:\n%s\n", len(configuration), configuration)
		return
	}
	fmt.Fprintf(w, "scheduler: %s\n", message(err))
	if usage, ok := errors.AsType[*usageError](err); ok {
		fmt.Fprintf(w, "Run \"%s --help\" for usage.\n", usage.command.CommandPath())
	}
}

// message is an error as one line.
func message(err error) string {
	text := err.Error()
	var connect *pgconn.ConnectError
	var server *pgconn.PgError
	hasAnswer := errors.As(err, &server)
	switch {
	case errors.As(err, &connect):
		text = connectMessage(connect)
	case hasAnswer && server.Hint != "" && !strings.Contains(text, server.Hint):
		text += ". " + server.Hint
	}
	// What a client says of privileges holds the fix already.
	if hasAnswer && refusals[server.Code] != "" && !errors.Is(err, scheduler.ErrPrivilege) {
		text = strings.TrimSuffix(text, ".") + "; " + refusals[server.Code]
	}
	return oneLine(text)
}

// connectMessage says where the connection should have led and why it did not,
// without the driver's list of attempts.
func connectMessage(err *pgconn.ConnectError) string {
	text := "connect to " + address(err.Config) + ": "
	var server *pgconn.PgError
	var network *net.OpError
	var timeout net.Error
	switch {
	case errors.As(err, &server):
		text += fmt.Sprintf("%s (SQLSTATE %s)", server.Message, server.Code)
	case errors.As(err, &timeout) && timeout.Timeout():
		text += "no answer in time; is the address right, and does a firewall let it through?"
	case errors.As(err, &network):
		text += network.Err.Error() + "; is the server running there? The address is that of --database-url, DATABASE_URL, or PGHOST and PGPORT; for a development database there is: scheduler dev"
	default:
		text += err.Unwrap().Error()
	}
	return text
}

// address says where a connection leads to, without its password.
func address(c *pgconn.Config) string {
	return fmt.Sprintf("database %q at %s as user %q", cmp.Or(c.Database, c.User), hostPort(c.Host, c.Port), c.User)
}

func hostPort(host string, port uint16) string {
	if strings.HasPrefix(host, "/") {
		return host
	}
	return net.JoinHostPort(host, fmt.Sprint(port))
}

func oneLine(text string) string {
	return strings.NewReplacer(":\n\t", ": ", ".\n\t", "; ", ".\n", "; ", "\n\t", "; ", "\n", "; ").Replace(strings.TrimSpace(text))
}
