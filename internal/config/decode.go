package config

import (
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs"
)

// fileJob is an entry of jobs, with the places of what it sets.
type fileJob struct {
	config scheduler.JobConfig
	// origins are those of the fields, and of "parameters.x" and the like.
	origins map[string]Origin
	// nodes are the values of the keys, parameters the entries of that key.
	nodes      map[string]*yaml.Node
	parameters []entry
	// places are those of texts within which errors have a place.
	places map[string]place
	// declared is the job that the entry declares; nil if it changes one of the program.
	declared jobs.Job
}

// file is what a file says.
type file struct {
	settings Settings
	// origins are those of the fields; bootstrap those of the names in it.
	origins   map[string]Origin
	bootstrap []Origin
	jobs      []*fileJob
}

// decode reads a file's root into f, which holds the defaults.
func (d *document) decode(root *yaml.Node, f *file) {
	fields := Fields()
	known := make([]string, 0, len(fields)+1)
	for _, field := range fields {
		known = append(known, field.Name)
	}
	known = append(known, "jobs")
	for _, e := range d.mapping(root, "the configuration", known) {
		if e.name == "jobs" {
			f.jobs = d.jobs(e.value)
			continue
		}
		field := fields[slices.IndexFunc(fields, func(field Field) bool { return field.Name == e.name })]
		if list, ok := field.target(&f.settings).(*[]string); ok {
			if *list, f.bootstrap = d.names(e.value, e.name); *list != nil {
				f.origins[e.name] = d.origin(e.key)
			}
			continue
		}
		if err := decodeScalar(e.value, field.target(&f.settings), field.Enum, field.Default); err != nil {
			d.refusef(e.value, "%s: %w", e.name, err)
			continue
		}
		f.origins[e.name] = d.origin(e.value)
	}
}

// names reads a list of strings and their places; nil for null.
func (d *document) names(node *yaml.Node, what string) (names []string, origins []Origin) {
	if list := resolve(node); list.Kind == yaml.SequenceNode {
		names = []string{}
	}
	for _, item := range d.sequence(node, what) {
		var name string
		if err := decodeScalar(item, &name, nil, ""); err != nil {
			d.refusef(item, "%s: %w", what, err)
			continue
		}
		names, origins = append(names, name), append(origins, d.origin(item))
	}
	return names, origins
}

func (d *document) jobs(node *yaml.Node) []*fileJob {
	var list []*fileJob
	first := make(map[string]int)
	for _, item := range d.sequence(node, "jobs") {
		job, ok := d.job(item)
		if !ok {
			continue
		}
		name, at := job.config.Name, job.origins["name"]
		if line := first[name]; line > 0 {
			d.refuse(at, fmt.Errorf("job %q is configured twice, the first time in line %d; merge the two entries", name, line))
			continue
		}
		first[name] = at.Line
		list = append(list, job)
	}
	return list
}

// job reads an entry of jobs. Not ok is one of which it cannot be said whose it is.
func (d *document) job(node *yaml.Node) (job *fileJob, ok bool) {
	fields := JobFields()
	known := make([]string, 0, len(fields))
	for _, field := range fields {
		known = append(known, field.Name)
	}
	job = &fileJob{origins: make(map[string]Origin), nodes: make(map[string]*yaml.Node), places: make(map[string]place)}
	nameless := resolve(node).Kind == yaml.MappingNode
	var description string
	for _, e := range d.mapping(node, "a job", known) {
		nameless = nameless && e.name != "name"
		job.nodes[e.name] = e.value
		field := fields[slices.IndexFunc(fields, func(field JobField) bool { return field.Name == e.name })]
		var err error
		switch {
		case e.name == "parameters":
			d.parameters(e.value, job)
			continue
		case e.name == "description":
			err = decodeScalar(e.value, &description, nil, "none")
		case field.target != nil:
			err = decodeScalar(e.value, field.target(&job.config), nil, "")
		}
		if err != nil {
			d.refusef(e.value, "%s: %w", e.name, err)
			continue
		}
		job.origins[e.name] = d.origin(e.value)
	}
	if nameless {
		d.refusef(node, "the job has no name; give it one, such as: name: database_cleanup")
	}
	if _, ok = job.origins["name"]; ok {
		d.declare(job, description)
	}
	return job, ok
}

// parameters reads a job's parameters. Of what type each must be, only the job
// knows.
func (d *document) parameters(node *yaml.Node, job *fileJob) {
	if isNull(resolve(node)) {
		return
	}
	job.config.Parameters = make(map[string]any)
	job.parameters = d.mapping(node, "parameters", nil)
	for _, e := range job.parameters {
		value, err := decodeAny(e.value)
		if err != nil {
			d.refusef(e.value, "parameters.%s: %w", e.name, err)
			continue
		}
		job.config.Parameters[e.name] = value
		job.origins["parameters."+e.name] = d.origin(e.value)
	}
}

func decodeAny(node *yaml.Node) (any, error) {
	if plain := resolve(node); plain.Kind == yaml.ScalarNode && plain.Tag == "!!timestamp" {
		return plain.Value, nil // it is a string to whoever writes it
	}
	var value any
	if err := node.Decode(&value); err != nil {
		return nil, fmt.Errorf("%s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	return value, nil
}

// decodeScalar sets what target points to, whose type says of what type the node
// must be. otherwise is the default, for the hint.
func decodeScalar(node *yaml.Node, target any, enum []string, otherwise string) error {
	node = resolve(node)
	is := func(tag string) bool { return node.Kind == yaml.ScalarNode && node.Tag == tag }
	if is("!!null") || is("!!str") && node.Value == "" {
		return fmt.Errorf("%w%s", errEmpty, hint(otherwise))
	}
	if len(enum) > 0 && (node.Kind != yaml.ScalarNode || !slices.Contains(enum, node.Value)) {
		return fmt.Errorf("is %s, must be one of: %s", describe(node), strings.Join(enum, ", "))
	}
	switch target := target.(type) {
	case *string:
		if !is("!!str") {
			return fmt.Errorf("must be a string, not %s%s", describe(node), quoteHint(node))
		}
		*target = node.Value
	case *bool:
		if !is("!!bool") {
			return fmt.Errorf("must be true or false, not %s", describe(node))
		}
		return node.Decode(target)
	case **bool:
		*target = new(bool)
		return decodeScalar(node, *target, nil, otherwise)
	case *int:
		n, err := strconv.Atoi(node.Value)
		if !is("!!int") || err != nil {
			return fmt.Errorf("must be a whole number, not %s", describe(node))
		}
		return setPositive(target, n, otherwise)
	case *linesOrOff:
		n, err := strconv.Atoi(node.Value)
		if !is("!!int") || err != nil {
			return fmt.Errorf("must be a whole number, or 0 for none, not %s", describe(node))
		}
		return target.set(n)
	case *time.Duration:
		d, err := time.ParseDuration(node.Value)
		if !is("!!str") && !is("!!int") || err != nil {
			return fmt.Errorf(`must be a duration such as "90s" or "1h30m", not %s`, describe(node))
		}
		return setPositiveDuration(target, d, otherwise)
	case *durationOrOff:
		d, err := time.ParseDuration(node.Value)
		if !is("!!str") && !is("!!int") || err != nil || d < 0 {
			return fmt.Errorf(`must be a duration such as "168h", or 0 for none, not %s`, describe(node))
		}
		*target = durationOrOff(d)
	case *slog.Level:
		return target.UnmarshalText([]byte(node.Value))
	default:
		panic(fmt.Sprintf("a field has a type that decodeScalar does not know: %T", target))
	}
	return nil
}

// quoteHint says how a value that YAML takes for something else is made a string.
func quoteHint(node *yaml.Node) string {
	if node.Kind != yaml.ScalarNode {
		return ""
	}
	return fmt.Sprintf("; put it between quotes: %q", node.Value)
}
