package config

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/systempromptio/scheduler"
)

// place is where a value of a job stands in the file.
type place struct {
	origin Origin
	// text is the value, if it is one whose lines are lines of the file, and starts are
	// the places of their first characters.
	text   string
	starts []Origin
}

// at is where a character of the value stands, from 1; 0 means the value.
func (p place) at(position int) Origin {
	if position < 1 || len(p.starts) == 0 {
		return p.origin
	}
	before := []rune(p.text)
	before = before[:min(position-1, len(before))]
	line, column := 0, 0
	for _, r := range before {
		column++
		if r == '\n' {
			line, column = line+1, 0
		}
	}
	at := p.starts[min(line, len(p.starts)-1)]
	at.Column += column
	return at
}

// place finds the place of a node's value.
func (d *document) place(node *yaml.Node) place {
	p := place{origin: d.origin(node)}
	node = resolve(node)
	p.text = node.Value
	switch {
	case node.Kind != yaml.ScalarNode:
	case node.Style&yaml.LiteralStyle != 0:
		// The lines of the value are those after the mark, but for what indents them.
		for i, line := range strings.Split(strings.TrimRight(node.Value, "\n"), "\n") {
			at := Origin{File: d.path, Line: node.Line + 1 + i, Column: 1}
			if at.Line <= len(d.lines) {
				written := bytes.TrimRight(d.lines[at.Line-1], "\r\n")
				at.Column += max(utf8.RuneCount(written)-utf8.RuneCountInString(line), 0)
			}
			p.starts = append(p.starts, at)
		}
	case node.Style == 0 && node.Line <= len(d.lines) && bytes.Contains(d.lines[node.Line-1], []byte(node.Value)):
		p.starts = []Origin{{File: d.path, Line: node.Line, Column: node.Column}}
	case node.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0 && node.Line <= len(d.lines) && bytes.Contains(d.lines[node.Line-1], []byte(node.Value)):
		p.starts = []Origin{{File: d.path, Line: node.Line, Column: node.Column + 1}}
	}
	return p
}

// mark notes where a field of the entry stands.
func (j *fileJob) mark(d *document, field string, node *yaml.Node) {
	j.places[field] = d.place(node)
	j.origins[field] = d.origin(node)
}

// place is where a field of the entry stands, or what it is part of.
func (j *fileJob) place(field string, position int) Origin {
	if p, ok := j.places[field]; ok {
		return p.at(position)
	}
	return j.origin(field)
}

// origin is where a field of the entry stands, or what it is part of.
func (j *fileJob) origin(field string) Origin {
	for field != "" {
		if at, ok := j.origins[field]; ok {
			return at
		}
		field = field[:max(strings.LastIndexByte(field, '.'), 0)]
	}
	return j.origins["name"]
}

// Locate gives what is found wrong with a job when a replica starts its place in the
// file. Other errors it returns as they are.
func (s Settings) Locate(err error) error {
	var located Errors
	for _, one := range scheduler.ConfigErrors(err) {
		if one.Job == "" {
			return err
		}
		mistake := &Error{Err: one}
		if job := s.jobs[one.Job]; job != nil {
			mistake.Origin = job.place(one.Field, one.Position)
		}
		located = append(located, mistake)
	}
	if len(located) == 0 {
		return err
	}
	return located.err()
}
