package importing

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Options say how a configuration is written.
type Options struct {
	// Header is what stands above all, for people, a line each.
	Header []string
	// Taken are names that no job may have, since the program has jobs of that name.
	Taken []string
	// CheckFunc says whether a configuration can be read. Required.
	CheckFunc func(content []byte) error
}

// Written is what became of the jobs.
type Written struct {
	// Content is the configuration.
	Content []byte
	// Jobs is how many there are, Refused how many of them are comments only, and Notes
	// how many things have no equal.
	Jobs, Refused, Notes int
}

// Write makes a configuration of jobs. A job that the configuration's reader refuses is
// written as a comment. The error says that the whole cannot be read; then there is
// nothing to be kept.
func Write(jobs []Job, options Options) (Written, error) {
	written := Written{Jobs: len(jobs)}
	list := &yaml.Node{Kind: yaml.SequenceNode}
	given := newNames(options.Taken)
	var waiting []refused // those that stand above the next job
	var taken []Job
	for _, job := range jobs {
		job.clean()
		shown := job.Name
		job.Name = given.of(job.Name)
		item := job.candidate(options.CheckFunc)
		comment := job.comment(shown)
		written.Notes += len(job.Notes)
		if job.Refused == "" {
			item.HeadComment = above(waiting, "") + comment
			list.Content = append(list.Content, item)
			waiting, taken = nil, append(taken, job)
			continue
		}
		written.Refused++
		text, err := encode(&yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{item}})
		if err != nil {
			return Written{}, fmt.Errorf("%s: %w", job.Source, err)
		}
		waiting = append(waiting, refused{comment: comment, entry: string(text)})
	}
	// Below the list there is no indentation but one's own.
	content, err := encode(document(list, options.Header, above(waiting, "  ")))
	if err != nil {
		return Written{}, err
	}
	if err := errors.Join(options.CheckFunc(content), verify(content, taken)); err != nil {
		return Written{}, fmt.Errorf("what would be written cannot be read: %w", err)
	}
	written.Content = content
	return written, nil
}

// refused is a job that is a comment as a whole.
type refused struct{ comment, entry string }

// above are refused jobs as they stand above what follows: an entry is one again when its
// lines lose their first character.
func above(list []refused, indent string) string {
	var b strings.Builder
	for _, r := range list {
		b.WriteString(r.comment + "\n")
		for line := range strings.Lines(r.entry) {
			b.WriteString("#" + indent + line)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// document is the whole file.
func document(list *yaml.Node, header []string, foot string) *yaml.Node {
	key := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: "jobs"}
	head := make([]string, 0, len(header))
	for _, line := range header {
		head = append(head, commented(line))
	}
	if len(list.Content) == 0 {
		list = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}
	}
	return &yaml.Node{
		Kind: yaml.DocumentNode, HeadComment: strings.Join(head, "\n"), FootComment: foot,
		Content: []*yaml.Node{{Kind: yaml.MappingNode, Content: []*yaml.Node{key, list}}},
	}
}

// candidate is the job's entry, in a form that can be read; if there is none, the job is
// refused, and it is the first form.
func (j *Job) candidate(check func([]byte) error) *yaml.Node {
	kinds := []string{"exec"}
	if len(j.SQL) > 0 || len(j.Command) == 0 {
		kinds = []string{"sql"}
	}
	if len(j.SQL) == 1 {
		kinds = append(kinds, "sql_outside_transaction")
	}
	first := j.entry(kinds[0])
	if j.Refused != "" {
		return first
	}
	var because error
	for _, kind := range kinds {
		item := j.entry(kind)
		content, err := encode(document(&yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{item}}, nil, ""))
		if err == nil {
			err = errors.Join(check(content), verify(content, []Job{*j}))
		}
		if err == nil {
			if kind == "sql_outside_transaction" {
				j.notef("it cannot run in a transaction: it is not one with its record, and may be done twice")
			}
			return item
		}
		if because == nil {
			because = err
		}
	}
	j.refusef("%v", because)
	return first
}

// entry makes the job's entry of one kind.
func (j *Job) entry(kind string) *yaml.Node {
	item := &yaml.Node{Kind: yaml.MappingNode}
	add := func(name string, value *yaml.Node) {
		item.Content = append(item.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: name}, value)
	}
	add("name", text(j.Name))
	if j.Description != "" {
		add("description", text(j.Description))
	}
	add("schedule", &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: j.Schedule, Style: yaml.DoubleQuotedStyle})
	if j.TimeZone != "" {
		add("timezone", text(j.TimeZone))
	}
	if j.Disabled {
		add("enabled", &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: "false"})
	}
	if j.Overlap != "" {
		add("overlap", text(j.Overlap))
	}
	// Neither cron nor pg_cron tries again what has failed.
	add("max_attempts", &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: "1"})
	switch {
	case kind == "exec":
		value := &yaml.Node{Kind: yaml.MappingNode}
		value.Content = append(value.Content, text("command"), list(j.Command))
		if len(j.Environ) > 0 {
			environ := &yaml.Node{Kind: yaml.MappingNode}
			for _, variable := range j.Environ {
				environ.Content = append(environ.Content, text(variable.Name), text(variable.Value))
			}
			value.Content = append(value.Content, text("env"), environ)
		}
		add(kind, value)
	case len(j.SQL) == 1:
		add(kind, text(j.SQL[0]))
	default:
		add(kind, list(j.SQL))
	}
	return item
}

func list(texts []string) *yaml.Node {
	node := &yaml.Node{Kind: yaml.SequenceNode}
	for _, t := range texts {
		node.Content = append(node.Content, text(t))
	}
	return node
}

// text is a string, in lines where it has several and keeps them.
func text(value string) *yaml.Node {
	node := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value}
	if !strings.Contains(value, "\n") {
		return node
	}
	node.Style = yaml.LiteralStyle
	content, err := encode(&yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{node}})
	var back []string
	if err != nil || yaml.Unmarshal(content, &back) != nil || len(back) != 1 || back[0] != value {
		node.Style = yaml.DoubleQuotedStyle
	}
	return node
}

func encode(node *yaml.Node) ([]byte, error) {
	var b bytes.Buffer
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := errors.Join(encoder.Encode(node), encoder.Close()); err != nil {
		return nil, fmt.Errorf("write YAML: %w", err)
	}
	if !bytes.HasSuffix(b.Bytes(), []byte("\n")) {
		b.WriteByte('\n')
	}
	return b.Bytes(), nil
}

// verify reads what was written, and says whether it is what was meant.
func verify(content []byte, jobs []Job) error {
	var back struct {
		Jobs []struct {
			Name, Description, Schedule string
			SQL                         any
			Outside                     any `yaml:"sql_outside_transaction"`
			Exec                        struct {
				Command []string
				Env     map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(content, &back); err != nil {
		return err
	}
	if len(back.Jobs) != len(jobs) {
		return fmt.Errorf("%d jobs have become %d", len(jobs), len(back.Jobs))
	}
	for i, job := range jobs {
		got := back.Jobs[i]
		var statements []string
		for _, value := range []any{got.SQL, got.Outside} {
			switch value := value.(type) {
			case string:
				statements = append(statements, value)
			case []any:
				for _, one := range value {
					statements = append(statements, fmt.Sprint(one))
				}
			}
		}
		environ := make(map[string]string)
		for _, variable := range job.Environ {
			environ[variable.Name] = variable.Value
		}
		same := got.Name == job.Name && got.Description == job.Description && got.Schedule == job.Schedule &&
			equal(statements, job.SQL) && equal(got.Exec.Command, job.Command) && (len(environ) == 0 || reflect.DeepEqual(got.Exec.Env, environ))
		if !same {
			return fmt.Errorf("%s cannot be written so that it is read as the same", job.Source)
		}
	}
	return nil
}

func equal(a, b []string) bool { return len(a) == 0 && len(b) == 0 || reflect.DeepEqual(a, b) }

// comment is what stands above the job: where it is from, and what is to be said of it.
func (j *Job) comment(shown string) string {
	head := j.Source
	if shown != "" && shown != j.Name {
		head += fmt.Sprintf(", %q", shown)
	}
	lines := []string{commented(head)}
	for _, note := range j.Notes {
		lines = append(lines, commented("Note: "+note))
	}
	if j.Refused != "" {
		lines = append(lines, commented("Not a job here: "+j.Refused))
	}
	return strings.Join(lines, "\n")
}

// commented is a line of a comment. What could end it, or make the file none of text, is
// written as Go writes it.
func commented(line string) string {
	var b strings.Builder
	b.WriteString("#")
	if line != "" {
		b.WriteString(" ")
	}
	for _, r := range line {
		if r == ' ' || r != '\u00a0' && isPrintable(r) {
			b.WriteRune(r)
			continue
		}
		quoted := fmt.Sprintf("%q", string(r))
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}
