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
	for _, match := range argumentRE.FindAllStringSubmatch(commentRE.ReplaceAllString(r.whole(), ""), -1) {
		if !seen[match[1]] {
			seen[match[1]] = true
			names = append(names, match[1])
		}
	}
	return names
}
