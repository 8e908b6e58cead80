package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/systempromptio/scheduler/jobs"
)

// kind is a key of an entry of jobs that declares a job, where the others change one
// that the program has.
type kind struct {
	name, usage string
	// make reads the key's value and makes the job.
	make func(d *document, node *yaml.Node, entry *fileJob, definition jobs.Definition) (jobs.Job, error)
	// set names the parameters that every job of the kind has: the file sets them, where it
	// declares the others.
	set []string
	// keys describes what its mapping has, for the reference.
	keys []JobField
}

// kinds are the kinds of declared jobs.
func kinds() []kind {
	return []kind{
		{
			name: "sql", usage: "declares a job: SQL statements, in one transaction with the record of the run; a statement, a list of them, or a mapping", make: makeSQL,
			keys: []JobField{
				{Name: "statements", Usage: "a list of statements; in place of a text, an item may be a mapping of name, under which its rows are counted, and statement"},
				{Name: "check", Usage: "false leaves out the look at the statements before the start"},
			},
		},
		{
			name: "sql_outside_transaction", usage: "declares a job: a statement that the server does not run in a transaction, at least once; a statement or a mapping", make: makeSQLOutside,
			keys: []JobField{
				{Name: "statement", Usage: "the statement"},
				{Name: "check", Usage: "false leaves out the look at the statement before the start"},
			},
		},
		{
			name: "http", usage: "declares a job: an HTTP request, at least once; a mapping", make: makeHTTP,
			keys: []JobField{
				{Name: "url", Usage: "the address, http or https; required"},
				{Name: "method", Usage: "the method; by default POST"},
				{Name: "headers", Usage: "headers and their values"},
				{Name: "body", Usage: "the body; by default what the run is, as JSON"},
				{Name: "timeout", Usage: "bounds the request; by default 30s"},
				{Name: "success", Usage: "the statuses that mean success; by default 200 to 299"},
				{Name: "secret_variable", Usage: "the environment variable with the secret that signs the body"},
				{Name: "header_variables", Usage: "headers, and the environment variables with their values"},
			},
		},
		{
			name: "exec", usage: "declares a job: a command, at least once; a list or a mapping", make: makeExec,
			keys: []JobField{
				{Name: "command", Usage: "the program and its arguments; required"},
				{Name: "env", Usage: "environment variables and their values"},
				{Name: "inherit", Usage: "environment variables of the scheduler that the command gets, beside " + strings.Join(inherited(), ", ")},
				{Name: "directory", Usage: "where it runs; by default where the scheduler does"},
				{Name: "grace", Usage: "how long it has to end after SIGTERM; by default 3s, at most 5s"},
			},
		},
		{
			name: "retention", usage: "declares a job: deletes, or updates, the rows of a table that meet a condition, in batches; a mapping", make: makeRetention,
			set: retentionParameters(), keys: retentionKeys(),
		},
		{
			name: "partition", usage: "declares a job: makes the next partitions of a table and takes old ones, each in a transaction with its record; a mapping", make: makePartition,
			set: partitionParameters(), keys: partitionKeys(),
		},
	}
}

// declare makes the job that an entry declares, if it does.
func (d *document) declare(entry *fileJob, description string) {
	var found []kind
	for _, k := range kinds() {
		if entry.nodes[k.name] != nil {
			found = append(found, k)
		}
	}
	at := entry.origins["name"]
	switch {
	case len(found) == 0:
		if entry.nodes["description"] != nil {
			d.refusef(entry.nodes["description"], "description: only a declared job has one, this entry changes a job of the program; leave it out, or add one of: %s", kindNames())
		}
		return
	case len(found) > 1:
		d.refusef(entry.nodes[found[1].name], "job %q is declared as %s and as %s; a job is one of: %s", entry.config.Name, found[0].name, found[1].name, kindNames())
		return
	case entry.config.Schedule == "":
		if _, refused := entry.nodes["schedule"]; !refused {
			d.refuse(at, fmt.Errorf("job %q has no schedule; a declared job needs one, such as: schedule: \"0 4 * * *\"", entry.config.Name))
		}
		return
	}
	for _, e := range entry.parameters {
		if _, ok := entry.config.Parameters[e.name]; !ok {
			return // it was refused
		}
	}
	k := found[0]
	before := len(d.errs)
	definition := jobs.Definition{Name: entry.config.Name, Description: description, Schedule: entry.config.Schedule, Parameters: d.declareParameters(entry, k)}
	job, err := k.make(d, entry.nodes[k.name], entry, definition)
	if len(d.errs) > before {
		return
	}
	if err == nil {
		err = jobs.Validate(job)
	}
	if err != nil {
		d.refuseDeclared(entry, err)
		return
	}
	entry.declared = job
}

// isBroken says that the entry was to declare a job, and that it was said why it does
// not.
func (j *fileJob) isBroken() bool {
	return j.declared == nil && slices.ContainsFunc(kinds(), func(k kind) bool { return j.nodes[k.name] != nil })
}

func kindNames() string {
	var names []string
	for _, k := range kinds() {
		names = append(names, k.name)
	}
	return strings.Join(names, ", ")
}

// refuseDeclared notes what is wrong with a declared job, each thing at its place.
func (d *document) refuseDeclared(entry *fileJob, err error) {
	_, isField := errors.AsType[*jobs.FieldError](err)
	_, isParameter := errors.AsType[*jobs.ParameterError](err)
	if joined, ok := err.(interface{ Unwrap() []error }); ok && (isField || isParameter) {
		for _, one := range joined.Unwrap() {
			d.refuseDeclared(entry, one)
		}
		return
	}
	field, position := "name", 0
	if part, ok := errors.AsType[*jobs.FieldError](err); ok {
		field, position = part.Field, part.Position
	} else if parameter, ok := errors.AsType[*jobs.ParameterError](err); ok {
		field = "parameters." + parameter.Parameter
	} else if errors.Is(err, jobs.ErrInvalidSchedule) {
		field = "schedule"
	}
	if !strings.HasPrefix(err.Error(), "job ") {
		err = fmt.Errorf("job %q: %w", entry.config.Name, err)
	}
	d.refuse(entry.place(field, position), err)
}

// declareParameters makes declarations of the values that an entry gives, but for those
// that its kind has in any case.
func (d *document) declareParameters(entry *fileJob, k kind) []jobs.Parameter {
	var list []jobs.Parameter
	set := make(map[string]any)
	for _, e := range entry.parameters {
		if slices.Contains(k.set, e.name) {
			set[e.name] = entry.config.Parameters[e.name]
			continue
		}
		// What a run is told is left out where it is the file's: a replica that has another
		// file then takes its own, which fits what else is in it.
		p := jobs.Parameter{Name: e.name, OmitDefault: true}
		if resolve(e.value).Kind == yaml.MappingNode {
			d.explicit(e, &p)
		} else {
			p.Default = entry.config.Parameters[e.name]
			if p.Type = typeOf(p.Default); p.Type == "" {
				d.refusef(e.value, "parameters.%s: is %s, must be a number, true or false, a string, a duration, or a list of strings", e.name, describe(resolve(e.value)))
			}
		}
		list = append(list, p)
	}
	entry.config.Parameters = set
	return list
}

// explicit reads a parameter that says more than its value.
func (d *document) explicit(e entry, p *jobs.Parameter) {
	what := "parameters." + e.name
	for _, part := range d.mapping(e.value, what, []string{"default", "type", "description", "minimum", "maximum", "enum"}) {
		var err error
		switch part.name {
		case "default":
			p.Default, err = decodeAny(part.value)
			if p.Type == "" {
				p.Type = typeOf(p.Default)
			}
		case "type":
			err = decodeScalar(part.value, (*string)(&p.Type), parameterTypes(), "the one of its default")
		case "description":
			err = decodeScalar(part.value, &p.Description, nil, "none")
		case "minimum", "maximum":
			var bound float64
			if err = part.value.Decode(&bound); err != nil {
				err = fmt.Errorf("must be a number, not %s", describe(resolve(part.value)))
			}
			if part.name == "minimum" {
				p.Minimum = &bound
			} else {
				p.Maximum = &bound
			}
		case "enum":
			p.Enum, _ = d.names(part.value, what+".enum")
		}
		if err != nil {
			d.refusef(part.value, "%s.%s: %w", what, part.name, err)
		}
	}
	if p.Default == nil {
		d.refusef(e.value, "%s: has no default; a parameter always has a value", what)
	}
}

func parameterTypes() []string {
	return []string{
		string(jobs.TypeInteger), string(jobs.TypeNumber), string(jobs.TypeBoolean), string(jobs.TypeString), string(jobs.TypeStrings), string(jobs.TypeDuration),
	}
}

// typeOf is the type that a value declares; empty if there is none for it. A string is a
// duration if it reads as one.
func typeOf(value any) jobs.ParameterType {
	switch value := value.(type) {
	case int, int64, uint64:
		return jobs.TypeInteger
	case float64:
		return jobs.TypeNumber
	case bool:
		return jobs.TypeBoolean
	case string:
		if _, err := time.ParseDuration(value); err == nil && strings.ContainsFunc(value, isUnit) {
			return jobs.TypeDuration
		}
		return jobs.TypeString
	case []any:
		return jobs.TypeStrings // what else it holds, is refused with the value
	}
	return ""
}

// isUnit tells "90s" from "0".
func isUnit(r rune) bool { return r >= 'a' && r <= 'z' }

// setting is a key of a kind's mapping.
type setting struct {
	name string
	// target points to its place, whose type is the setting's type.
	target any
	// otherwise is what leaving it out means, for people.
	otherwise string
}

// section reads the mapping of a kind.
func (d *document) section(entry *fileJob, node *yaml.Node, what string, settings ...setting) {
	known := make([]string, 0, len(settings))
	for _, s := range settings {
		known = append(known, s.name)
	}
	for _, e := range d.mapping(node, what, known) {
		name := what + "." + e.name
		entry.mark(d, name, e.value)
		s := settings[slices.Index(known, e.name)]
		switch target := s.target.(type) {
		case *[]string:
			*target, _ = d.names(e.value, name)
		case *map[string]string:
			*target = d.texts(entry, e.value, name)
		case *[]int:
			*target = d.numbers(e.value, name)
		case **yaml.Node:
			*target = e.value
		default:
			if err := decodeScalar(e.value, target, nil, s.otherwise); err != nil {
				d.refusef(e.value, "%s: %w", name, err)
			}
		}
	}
}

// texts reads a mapping of strings.
func (d *document) texts(entry *fileJob, node *yaml.Node, what string) map[string]string {
	texts := make(map[string]string)
	for _, e := range d.mapping(node, what, nil) {
		entry.mark(d, what+"."+e.name, e.value)
		value := resolve(e.value)
		if value.Kind != yaml.ScalarNode || value.Tag != "!!str" {
			d.refusef(e.value, "%s.%s: must be a string, not %s%s", what, e.name, describe(value), quoteHint(value))
			continue
		}
		texts[e.name] = value.Value
	}
	return texts
}

// numbers reads a list of whole numbers.
func (d *document) numbers(node *yaml.Node, what string) []int {
	var list []int
	for _, item := range d.sequence(node, what) {
		var n int
		if err := decodeScalar(item, &n, nil, "none"); err != nil {
			d.refusef(item, "%s: %w", what, err)
			continue
		}
		list = append(list, n)
	}
	return list
}
