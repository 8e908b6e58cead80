package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/jobs/declared"
)

// makeSQL reads a statement, a list of them, or a mapping with more.
func makeSQL(d *document, node *yaml.Node, entry *fileJob, definition jobs.Definition) (jobs.Job, error) {
	c := declared.SQLConfig{Definition: definition}
	list := node
	if resolve(node).Kind == yaml.MappingNode {
		check := true
		list = nil
		d.section(entry, node, "sql", setting{"statements", &list, ""}, setting{"check", &check, "true"})
		if c.Unchecked = !check; list == nil {
			d.refusef(node, "sql: has no statements; give a list of them")
			return nil, nil
		}
	}
	items := []*yaml.Node{list}
	if isNull(resolve(list)) {
		items = nil
	}
	if resolve(list).Kind == yaml.SequenceNode {
		items = d.sequence(list, "sql")
	}
	for i, item := range items {
		s := declared.Statement{}
		text := item
		if resolve(item).Kind == yaml.MappingNode {
			text = nil
			d.section(entry, item, fmt.Sprintf("sql.statement_%d", i+1), setting{"name", &s.Name, "statement_1 and so on"}, setting{"statement", &text, ""})
			if text == nil {
				d.refusef(item, "sql: the statement has no text; give it as: statement: DELETE ...")
				continue
			}
		}
		if s.Name == "" {
			s.Name = fmt.Sprintf("statement_%d", i+1)
		}
		if !d.statement(entry, text, "sql."+s.Name, &s.Text) {
			continue
		}
		c.Statements = append(c.Statements, s)
	}
	return declared.SQL(c)
}

// statement reads the text of a statement, and notes its place.
func (d *document) statement(entry *fileJob, node *yaml.Node, field string, text *string) bool {
	value := resolve(node)
	if value.Kind != yaml.ScalarNode || value.Tag != "!!str" {
		d.refusef(node, "%s: must be a SQL statement, not %s", field, describe(value))
		return false
	}
	*text = value.Value
	entry.mark(d, field, node)
	return true
}

// makeSQLOutside reads a statement, or a mapping with more.
func makeSQLOutside(d *document, node *yaml.Node, entry *fileJob, definition jobs.Definition) (jobs.Job, error) {
	const what = "sql_outside_transaction"
	text, check := node, true
	if resolve(node).Kind == yaml.MappingNode {
		text = nil
		d.section(entry, node, what, setting{"statement", &text, ""}, setting{"check", &check, "true"})
		if text == nil {
			d.refusef(node, "%s: has no statement; give one", what)
			return nil, nil
		}
	}
	c := declared.SQLOutsideConfig{Definition: definition, Unchecked: !check}
	if resolve(text).Kind == yaml.SequenceNode {
		d.refusef(text, "%s: is a list, must be one statement; each other one is a job of its own", what)
		return nil, nil
	}
	if !d.statement(entry, text, what, &c.Statement) {
		return nil, nil
	}
	return declared.SQLOutsideTransaction(c)
}

// makeHTTP reads a request. What is secret in it is in variables, which may be missing
// where the file is only looked at.
func makeHTTP(d *document, node *yaml.Node, entry *fileJob, definition jobs.Definition) (jobs.Job, error) {
	c := declared.HTTPConfig{Definition: definition}
	var secret string
	var variables map[string]string
	d.section(entry, node, "http",
		setting{"url", &c.URL, "none"}, setting{"method", &c.Method, "POST"}, setting{"headers", &c.Headers, ""}, setting{"body", &c.Body, "what the run is"},
		setting{"timeout", &c.Timeout, declared.RequestTimeoutDefault.String()}, setting{"success", &c.Success, ""},
		setting{"secret_variable", &secret, "no signature"}, setting{"header_variables", &variables, ""})
	c.CredentialsFunc = func() (declared.Credentials, error) {
		var credentials declared.Credentials
		if secret != "" {
			if credentials.Secret = d.variable(secret); credentials.Secret == "" {
				return credentials, missing("http.secret_variable", secret)
			}
		}
		credentials.Headers = make(map[string]string)
		for _, header := range slices.Sorted(maps.Keys(variables)) {
			if credentials.Headers[header] = d.variable(variables[header]); credentials.Headers[header] == "" {
				return credentials, missing("http.header_variables."+header, variables[header])
			}
		}
		return credentials, nil
	}
	return declared.HTTP(c)
}

func missing(field, variable string) error {
	return &jobs.FieldError{Field: field, Err: fmt.Errorf("the environment has no variable %s; set it where the replicas run", variable)}
}

// inherited are the variables of the program's own environment that a command gets in any
// case: where programs are, and what language and zone they speak.
func inherited() []string {
	return []string{"PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR"}
}

// makeExec reads a command: a list, or a mapping with more.
func makeExec(d *document, node *yaml.Node, entry *fileJob, definition jobs.Definition) (jobs.Job, error) {
	c := declared.ExecConfig{Definition: definition}
	var env map[string]string
	var inherit []string
	if resolve(node).Kind == yaml.MappingNode {
		d.section(entry, node, "exec",
			setting{"command", &c.Command, ""}, setting{"env", &env, ""}, setting{"inherit", &inherit, ""}, setting{"directory", &c.Directory, "the program's own"},
			setting{"grace", &c.Grace, declared.GraceDefault.String()})
	} else {
		entry.mark(d, "exec.command", node)
		c.Command, _ = d.names(node, "exec")
	}
	for _, name := range append(inherited(), inherit...) {
		if value := d.variable(name); value != "" && env[name] == "" {
			c.Environ = append(c.Environ, name+"="+value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if strings.Contains(name, "=") { // it would be another variable, with another value
			return nil, &jobs.FieldError{Field: "exec.env." + name, Err: fmt.Errorf("%q is no name of a variable, since it has a =", name)}
		}
		c.Environ = append(c.Environ, name+"="+env[name])
	}
	return declared.Exec(c)
}
