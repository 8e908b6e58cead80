package declared

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/systempromptio/scheduler/jobs"
)

const (
	// GraceDefault is how long a command has to end after SIGTERM.
	GraceDefault = 3 * time.Second

	// GraceMax is the longest such time: a job that has not returned a second after that
	// counts as one that ignores the end of its context.
	GraceMax = 5 * time.Second

	// variableMax bounds a parameter's text in the environment, which the kernel does, too.
	variableMax = 100_000
)

// ExecConfig says what a job of [Exec] does.
type ExecConfig struct {
	// Definition describes the job. A parameter p is the variable SCHEDULER_PARAMETER_P.
	Definition jobs.Definition
	// Command is the program and its arguments, as they are: there is no shell, and
	// nothing is put into them. The program is an absolute path, or a name that is looked
	// for in the PATH of the command's environment. Required.
	Command []string
	// Environ is the environment, as NAME=value. The program's own is not inherited; nil
	// means an empty one, in which no program without a path is found.
	Environ []string
	// Directory is where the command runs. Empty means the program's own.
	Directory string
	// Grace is how long the command's processes have to end after SIGTERM, before SIGKILL.
	// Zero means [GraceDefault], the most is [GraceMax].
	Grace time.Duration
}

// Exec makes a job that runs a command: once in each attempt, outside any transaction
// and at least once, see [SQLOutsideTransaction]. What it may rely on:
//
//   - Its environment is Environ and SCHEDULER_JOB, SCHEDULER_RUN_ID, SCHEDULER_TICK (RFC
//     3339, in UTC), SCHEDULER_ATTEMPT, SCHEDULER_PARAMETERS (all of them, as a JSON
//     object), and SCHEDULER_PARAMETER_NAME for each: a list of strings as JSON, a
//     duration as 1h30m0s. Standard input is empty.
//   - Exit code 0 is success. Any other fails the attempt; the error has the last lines of
//     the output.
//   - Of standard output and error together the first and the last 32 kB are kept, and the
//     first and the last lines of those go to the run's log.
//   - It is the leader of a process group of its own. At the timeout, when the run is
//     cancelled, and when the replica leaves, the group gets SIGTERM and, after Grace,
//     SIGKILL. What is left of the group when the command has ended is killed, too, and
//     what holds the output open is waited for no longer than Grace. A process that
//     leaves the group is on its own.
//   - If the replica dies, the command is killed with it, on Linux; not so what it has
//     started.
//   - A dry run runs nothing, and says so.
//
// Before the start it is looked whether the program is there and may be run.
func Exec(config ExecConfig) (jobs.Job, error) {
	c := &command{config: config}
	c.config.Command, c.config.Environ = slices.Clone(config.Command), slices.Clone(config.Environ)
	if config.Grace == 0 {
		c.config.Grace = GraceDefault
	}
	if err := c.validate(); err != nil {
		return nil, err
	}
	return &outside{
		definition: labelled(config.Definition, "command: not one with its record, may be done twice"),
		target:     "command",
		dry:        "run " + filepath.Base(config.Command[0]),
		do:         c.run,
		check:      func(context.Context, *jobs.Run) error { return c.check() },
	}, nil
}

// command is what a job of [Exec] runs.
type command struct{ config ExecConfig }

func (c *command) validate() error {
	refuse := func(field, format string, args ...any) error {
		return &jobs.FieldError{Field: field, Err: fmt.Errorf(format, args...)}
	}
	if !hasGroups {
		return refuse("exec", "does not work on this system, which has no process groups")
	}
	if len(c.config.Command) == 0 || c.config.Command[0] == "" {
		return refuse("exec.command", `names no program; give it and its arguments as a list, such as: ["/usr/local/bin/report", "--daily"]`)
	}
	if program := c.config.Command[0]; strings.ContainsRune(program, '/') && !filepath.IsAbs(program) {
		return refuse("exec.command", "%q is relative to a folder that nobody names; give an absolute path, or a name that is in PATH", program)
	}
	var errs []error
	for i, arg := range c.config.Command {
		if strings.ContainsRune(arg, 0) {
			errs = append(errs, refuse("exec.command", "argument %d holds a NUL character", i))
		}
	}
	for _, variable := range c.config.Environ {
		name, _, ok := strings.Cut(variable, "=")
		switch {
		case !ok || name == "" || strings.ContainsRune(variable, 0):
			errs = append(errs, refuse("exec.env", "%q is no name of a variable, or its value holds a NUL character", name))
		case strings.HasPrefix(name, "SCHEDULER_"):
			errs = append(errs, refuse("exec.env."+name, "the names that begin with SCHEDULER_ are those that the run sets; choose another"))
		}
	}
	if c.config.Directory != "" && !filepath.IsAbs(c.config.Directory) {
		errs = append(errs, refuse("exec.directory", "%q is not an absolute path", c.config.Directory))
	}
	if c.config.Grace < 0 || c.config.Grace > GraceMax {
		errs = append(errs, refuse("exec.grace", "is %v, must be between 0s and %v", c.config.Grace, GraceMax))
	}
	return errors.Join(errs...)
}

// check looks whether the command can be run.
func (c *command) check() error {
	var errs []error
	if _, err := c.program(); err != nil {
		errs = append(errs, &jobs.FieldError{Field: "exec.command", Err: err})
	}
	if err := c.checkDirectory(); err != nil {
		errs = append(errs, &jobs.FieldError{Field: "exec.directory", Err: err})
	}
	return errors.Join(errs...)
}

// checkDirectory says whether the command can be run where it is to. Of a directory that is
// not there the system says as if it were the program.
func (c *command) checkDirectory() error {
	if c.config.Directory == "" {
		return nil
	}
	info, err := os.Stat(c.config.Directory)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a directory", c.config.Directory)
	}
	return err
}

// program is the path of what is run.
func (c *command) program() (string, error) {
	name := c.config.Command[0]
	if filepath.IsAbs(name) {
		path, err := exec.LookPath(name)
		return path, plain(name, err)
	}
	var paths string
	for _, variable := range c.config.Environ {
		if value, ok := strings.CutPrefix(variable, "PATH="); ok {
			paths = value
		}
	}
	for _, folder := range filepath.SplitList(paths) {
		if !filepath.IsAbs(folder) {
			continue // it would depend on where the program was started
		}
		if path, err := exec.LookPath(filepath.Join(folder, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no program %q that may be run is in the command's PATH (%s); install it, or give its path", name, paths)
}

// plain says in one line why a program cannot be run.
func plain(name string, err error) error {
	if err == nil {
		return nil
	}
	if cause, ok := errors.AsType[*exec.Error](err); ok {
		err = cause.Err
	}
	return fmt.Errorf("%s cannot be run: %w", name, err)
}

// run runs the command.
func (c *command) run(ctx context.Context, run *jobs.Run) (outcome, error) {
	path, err := c.program()
	if err != nil {
		return outcome{}, err
	}
	if err := c.checkDirectory(); err != nil {
		return outcome{}, fmt.Errorf("the command's directory: %w", err)
	}
	environ, err := c.environ(run)
	if err != nil {
		return outcome{}, jobs.Permanent(err)
	}
	out := &output{}
	cmd := exec.CommandContext(ctx, path, c.config.Command[1:]...)
	cmd.Args[0] = c.config.Command[0]
	cmd.Env, cmd.Dir = environ, c.config.Directory
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = c.config.Grace
	cmd.SysProcAttr = groupAttributes()
	cmd.Cancel = func() error { return terminateGroup(cmd.Process.Pid) }
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return outcome{}, plain(path, err)
	}
	err = cmd.Wait()
	killGroup(cmd.Process.Pid)
	took := time.Since(began).Round(time.Millisecond)
	out.log(ctx, run.Logger)
	switch {
	case errors.Is(err, exec.ErrWaitDelay):
		run.Logger.WarnContext(ctx, "the command has ended, and processes that it left held its output open; they were killed", slog.Duration("grace", c.config.Grace))
	case ctx.Err() != nil:
		return outcome{}, fmt.Errorf("the command was ended after %v: %w%s", took, context.Cause(ctx), out.tail())
	case err != nil:
		return outcome{}, fmt.Errorf("%s: %w%s", filepath.Base(path), err, out.tail())
	}
	message := fmt.Sprintf("exit code 0 after %v", took)
	if last := out.last(); last != "" {
		message += ": " + last
	}
	return outcome{target: jobs.Target{Note: "exit code 0"}, message: message}, nil
}

// environ is the environment of the command in a run.
func (c *command) environ(run *jobs.Run) ([]string, error) {
	parameters, err := run.Parameters.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("encode the parameters: %w", err)
	}
	environ := append(slices.Clone(c.config.Environ),
		"SCHEDULER_JOB="+run.Job, fmt.Sprintf("SCHEDULER_RUN_ID=%d", run.ID), "SCHEDULER_TICK="+run.Tick.UTC().Format(time.RFC3339Nano),
		fmt.Sprintf("SCHEDULER_ATTEMPT=%d", run.Attempt))
	texts := map[string]string{"SCHEDULER_PARAMETERS": string(parameters)}
	for name, value := range run.Parameters {
		text, err := variableText(value)
		if err != nil {
			return nil, fmt.Errorf("encode parameter %q: %w", name, err)
		}
		texts["SCHEDULER_PARAMETER_"+strings.ToUpper(name)] = text
	}
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		if strings.ContainsRune(texts[name], 0) || len(texts[name]) > variableMax {
			return nil, fmt.Errorf("%s would hold a NUL character, or more than %d bytes: parameters like that cannot be handed to a command", name, variableMax)
		}
		environ = append(environ, name+"="+texts[name])
	}
	return environ, nil
}

// variableText is a parameter's value as a variable has it.
func variableText(value any) (string, error) {
	switch value := value.(type) {
	case []string:
		encoded, err := json.Marshal(value)
		return string(encoded), err
	case float64:
		return strconv.FormatFloat(value, 'f', -1, 64), nil
	}
	return fmt.Sprint(value), nil
}
