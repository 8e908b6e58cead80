package retention

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/systempromptio/scheduler/sql"
)

// ruleText is a rule's SQL with its comment lines read.
type ruleText struct {
	requires []sql.Relation
	parts    []textPart
}

// textPart is a piece of the text that counts only where all of needs exist.
type textPart struct {
	needs []sql.Relation
	text  string
}

var (
	directiveRE = regexp.MustCompile(`^\s*--\s*(requires:|if exists:|end$)\s*(.*?)\s*$`)
	relationRE  = regexp.MustCompile(`^([^\s(),]+)(?:\(([^\s(),]+)\))?$`)
	commentRE   = regexp.MustCompile(`(?m)--.*$`)
	// quotedRE finds what an @ may be in without standing for an argument.
	quotedRE = regexp.MustCompile(`'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*`)
	// literalRE finds what is neither a name nor an operator.
	literalRE = regexp.MustCompile(`'(?:[^']|'')*'|--[^\n]*`)
)

// readRule reads the comment lines of a rule.
func readRule(text string) (ruleText, error) {
	var r ruleText
	var part textPart
	inBlock := false
	next := func(needs []sql.Relation) {
		if part.text != "" {
			r.parts = append(r.parts, part)
		}
		part = textPart{needs: needs}
	}
	for line := range strings.Lines(strings.TrimSuffix(strings.TrimSpace(text), ";") + "\n") {
		directive := directiveRE.FindStringSubmatch(strings.TrimRight(line, "\r\n"))
		if directive == nil {
			part.text += line
			continue
		}
		if directive[1] == "end" {
			if !inBlock {
				return ruleText{}, errors.New(`SQL: "-- end" without "-- if exists:"`)
			}
			inBlock = false
			next(nil)
			continue
		}
		relations, err := readRelations(directive[2])
		if err != nil {
			return ruleText{}, err
		}
		if directive[1] == "requires:" {
			r.requires = append(r.requires, relations...)
			continue
		}
		if inBlock {
			return ruleText{}, errors.New(`SQL: "-- if exists:" within another: close the first with "-- end"`)
		}
		inBlock = true
		next(relations)
	}
	if inBlock {
		return ruleText{}, errors.New(`SQL: "-- if exists:" without "-- end"`)
	}
	next(nil)
	return r, nil
}

func readRelations(list string) ([]sql.Relation, error) {
	var relations []sql.Relation
	for item := range strings.SplitSeq(list, ",") {
		match := relationRE.FindStringSubmatch(strings.TrimSpace(item))
		if match == nil {
			return nil, fmt.Errorf(`SQL: %q in a comment line: write "table" or "table(column)", separated by commas`, strings.TrimSpace(item))
		}
		relations = append(relations, sql.Relation{Relation: match[1], Attribute: match[2]})
	}
	return relations, nil
}

// isEmpty says that there is nothing but comments.
func (r ruleText) isEmpty() bool {
	return strings.TrimSpace(commentRE.ReplaceAllString(r.whole(), "")) == ""
}

// whole is the text with every optional part.
func (r ruleText) whole() string {
	return r.without(func(sql.Relation) bool { return false })
}

// without is the text for a database that lacks some relations.
func (r ruleText) without(isMissing func(sql.Relation) bool) string {
	var text strings.Builder
	for _, part := range r.parts {
		if !slices.ContainsFunc(part.needs, isMissing) {
			text.WriteString(part.text)
		}
	}
	return strings.TrimRight(text.String(), "\n")
}

// optional lists what the optional parts need.
func (r ruleText) optional() []sql.Relation {
	var relations []sql.Relation
	for _, part := range r.parts {
		relations = append(relations, part.needs...)
	}
	return relations
}

// arguments lists the names of the arguments, each once, in no order of
// importance.
func (r ruleText) arguments() []string {
	seen := make(map[string]bool)
	var names []string
	for _, match := range argumentRE.FindAllStringSubmatch(quotedRE.ReplaceAllString(r.whole(), " "), -1) {
		if !seen[match[1]] {
			seen[match[1]] = true
			names = append(names, match[1])
		}
	}
	return names
}

// tableKey stands for the rule's table in its text, or for one of its partitions.
const tableKey = "{table}"

// direct is a rule of the form "SELECT t.ctid FROM {table} t WHERE condition": of one
// table, so that the condition can stand in other statements.
type direct struct{ alias, condition string }

var directRE = regexp.MustCompile(`(?is)^(?:\s|--[^\n]*\n)*SELECT\s+(\w+)\.ctid\s+FROM\s+\{table\}\s+(?:AS\s+)?(\w+)\s+WHERE\s(.*)$`)

var ofTableRE = regexp.MustCompile(`(?is)^(?:\s|--[^\n]*\n)*SELECT\s+(\w+)\.ctid\s+FROM\s+\{table\}\s+(?:AS\s+)?(\w+)\b`)

// isOfTable says whether a rule selects from {table} itself, and not only below.
func isOfTable(text string) bool {
	match := ofTableRE.FindStringSubmatch(text)
	return match != nil && strings.EqualFold(match[1], match[2])
}

// readDirect reads a rule's text; nil if it has another form. Whether what follows
// WHERE is a condition, and nothing after it, the server has to say.
func readDirect(text string) *direct {
	match := directRE.FindStringSubmatch(text)
	if match == nil || !strings.EqualFold(match[1], match[2]) {
		return nil
	}
	return &direct{alias: match[2], condition: match[3]}
}

var functionRE = regexp.MustCompile(`\b([A-Za-z_]\w*)"?\s*\(`)

// functions lists what may be the names of functions that a text calls.
func functions(text string) []string {
	names := []string{}
	for _, match := range functionRE.FindAllStringSubmatch(literalRE.ReplaceAllString(text, " "), -1) {
		names = append(names, strings.ToLower(match[1]), match[1])
	}
	return names
}

var setColumnRE = regexp.MustCompile(`^\s*\(?\s*("(?:[^"]|"")+"|\w+)`)

// setColumns lists the columns that the SET of an UPDATE assigns to, as the catalog
// writes them. It finds at least these: "(a, b) = (1, 2)" gives a, b and more.
func setColumns(set string) []string {
	columns := []string{}
	for _, assignment := range splitOutside(set) {
		targets, _, _ := strings.Cut(assignment, "=")
		for target := range strings.SplitSeq(targets, ",") {
			match := setColumnRE.FindStringSubmatch(target)
			if match == nil {
				continue
			}
			name := strings.ToLower(match[1])
			if quoted, ok := strings.CutPrefix(match[1], `"`); ok {
				name = strings.ReplaceAll(strings.TrimSuffix(quoted, `"`), `""`, `"`)
			}
			columns = append(columns, name)
		}
	}
	return columns
}

// splitOutside splits a text at its commas outside of parentheses, brackets and
// quotes.
func splitOutside(text string) []string {
	var parts []string
	depth, start := 0, 0
	var quote rune
	for i, r := range text {
		switch {
		case quote != 0:
			if r == quote {
				quote = 0
			}
		case r == '\'' || r == '"':
			quote = r
		case r == '(' || r == '[':
			depth++
		case r == ')' || r == ']':
			depth--
		case r == ',' && depth == 0:
			parts = append(parts, text[start:i])
			start = i + 1
		}
	}
	return append(parts, text[start:])
}
