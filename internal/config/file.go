package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"sort"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// fileSizeMax bounds a file. A real one has some kilobytes; five hundred declared jobs
// with a page of SQL each have two megabytes.
const fileSizeMax = 4 << 20

// readFile reads a file of text.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, plainCause(err)
	}
	defer func() { _ = f.Close() }() // it was only read
	content, err := io.ReadAll(io.LimitReader(f, fileSizeMax+1))
	if err != nil {
		return nil, plainCause(err)
	}
	if len(content) > fileSizeMax {
		return nil, fmt.Errorf("is larger than %d KiB; is it the right file?", fileSizeMax>>10)
	}
	if !utf8.Valid(content) || bytes.ContainsFunc(content, isControl) {
		return nil, errors.New("is not a text file in UTF-8; is it the right file?")
	}
	return content, nil
}

func isControl(r rune) bool { return r < ' ' && r != '\t' && r != '\n' && r != '\r' }

// plainCause leaves out the path, which is said before.
func plainCause(err error) error {
	if pathErr, ok := errors.AsType[*os.PathError](err); ok {
		return pathErr.Err
	}
	return err
}

// document is a file of YAML while it is read.
type document struct {
	path string
	// lines are the file's.
	lines [][]byte
	errs  Errors
	// variable gives an environment variable; empty if it is not set.
	variable func(name string) string
}

// refusef notes something that is wrong at a node.
func (d *document) refusef(at *yaml.Node, format string, args ...any) {
	d.refuse(d.origin(at), fmt.Errorf(format, args...))
}

func (d *document) refuse(at Origin, err error) {
	d.errs = append(d.errs, &Error{Origin: at, Err: err})
}

func (d *document) origin(at *yaml.Node) Origin {
	return Origin{File: d.path, Line: at.Line, Column: at.Column}
}

// parse gives the root of the file's only document; nil if it is empty.
func (d *document) parse(content []byte) *yaml.Node {
	roots, err := parse(content)
	switch {
	case err != nil:
		line := badLine(content)
		d.refuse(Origin{File: d.path, Line: line}, syntaxError(err, lines(content)[line-1]))
		return nil
	case len(roots) > 1:
		d.refusef(roots[1], "a second document begins here; a configuration is one")
	case len(roots) == 0:
		return nil
	}
	root := roots[0]
	if len(root.Content) == 0 || isNull(root.Content[0]) {
		return nil
	}
	return root.Content[0]
}

// parse reads up to two documents.
func parse(content []byte) ([]*yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var roots []*yaml.Node
	for len(roots) < 2 {
		var root yaml.Node
		if err := decoder.Decode(&root); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		roots = append(roots, &root)
	}
	return roots, nil
}

// badLine finds the line of the first mistake: the lines above it can be read, with
// it they cannot. What the parser says of its place is, depending on the mistake,
// where the structure around it begins, one line before, or nothing.
func badLine(content []byte) int {
	all := lines(content)
	return 1 + sort.Search(len(all)-1, func(i int) bool {
		_, err := parse(bytes.Join(all[:i+1], nil))
		return err != nil
	})
}

func lines(content []byte) [][]byte { return bytes.SplitAfter(content, []byte("\n")) }

var (
	parserPlaceRE = regexp.MustCompile(`^yaml: (line \d+: )?`)
	cronTextRE    = regexp.MustCompile(`^[\s-]*schedule:\s*[*@]`)
)

// syntaxError is the parser's error without its place.
func syntaxError(err error, line []byte) error {
	problem := parserPlaceRE.ReplaceAllString(err.Error(), "")
	if cronTextRE.Match(line) {
		problem += `; put cron text between quotes, such as "*/5 * * * *"`
	}
	return errors.New(problem)
}

// entry is a key of a mapping with its value.
type entry struct {
	name       string
	key, value *yaml.Node
}

// mapping lists the entries of a mapping, its own before those that it merges in
// with "<<". It refuses keys that are not strings or come twice, and, if known is
// not nil, those that are not in it.
func (d *document) mapping(node *yaml.Node, what string, known []string) []entry {
	return d.merge(node, what, known, nil, make(map[*yaml.Node]bool))
}

// merge lists the entries of a mapping that was reached through those within. What was
// merged once, is not again: it would change nothing, and take for ever where each
// anchor merges several of the one before.
func (d *document) merge(node *yaml.Node, what string, known []string, within []*yaml.Node, merged map[*yaml.Node]bool) []entry {
	at := node
	node = resolve(node)
	if node.Kind != yaml.MappingNode {
		d.refusef(at, "%s must be a mapping, not %s", what, describe(node))
		return nil
	}
	if slices.Contains(within, node) {
		d.refusef(at, "%s: the anchor %q contains itself", what, node.Anchor)
		return nil
	}
	if merged[node] {
		return nil
	}
	merged[node] = true
	within = append(within, node)
	var own, others []entry
	seen := make(map[string]int)
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		name := resolve(key)
		switch {
		case name.Tag == "!!merge":
			sources := []*yaml.Node{value}
			if list := resolve(value); list.Kind == yaml.SequenceNode {
				sources = list.Content
			}
			for _, source := range sources {
				others = append(others, d.merge(source, what, known, within, merged)...)
			}
		case name.Kind != yaml.ScalarNode || name.Tag != "!!str":
			d.refusef(key, "%s: a key must be a string, not %s", what, describe(name))
		case seen[name.Value] > 0:
			d.refusef(key, "%q is given twice; the first is in line %d", name.Value, seen[name.Value])
		case known != nil && !slices.Contains(known, name.Value):
			seen[name.Value] = key.Line
			d.refusef(key, "unknown field %q; %s has: %s", name.Value, what, strings.Join(known, ", "))
		default:
			seen[name.Value] = key.Line
			own = append(own, entry{name: name.Value, key: key, value: value})
		}
	}
	for _, m := range others {
		if seen[m.name] == 0 {
			seen[m.name] = m.key.Line
			own = append(own, m)
		}
	}
	return own
}

// sequence lists the items of a list; none for null.
func (d *document) sequence(node *yaml.Node, what string) []*yaml.Node {
	list := resolve(node)
	switch {
	case isNull(list):
		return nil
	case list.Kind != yaml.SequenceNode:
		d.refusef(node, "%s must be a list, not %s", what, describe(list))
		return nil
	}
	return list.Content
}

// resolve follows an alias.
func resolve(node *yaml.Node) *yaml.Node {
	for node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	return node
}

func isNull(node *yaml.Node) bool { return node.Kind == yaml.ScalarNode && node.Tag == "!!null" }

// describe says what a node is, for an error.
func describe(node *yaml.Node) string {
	switch node.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "a mapping"
	case yaml.ScalarNode, yaml.AliasNode, yaml.DocumentNode:
	}
	switch node.Tag {
	case "!!null":
		return "empty"
	case "!!int", "!!float":
		return "the number " + node.Value
	case "!!bool":
		return "the boolean " + node.Value
	}
	return fmt.Sprintf("%q", node.Value)
}
