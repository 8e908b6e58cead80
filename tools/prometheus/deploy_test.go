// Package prometheus tests what deploy/ holds for Prometheus and Grafana, with
// Prometheus' own parser.
package prometheus

import (
	"encoding/json"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

const (
	alerts    = "../../deploy/prometheus/alerts.yaml"
	dashboard = "../../deploy/grafana/scheduler.json"
	reference = "../../docs/reference/metrics.md"
	operating = "../../docs/operating.md"
)

// metricsThere reads the metrics and their labels from the reference, which `make
// verify` keeps up to date.
func metricsThere(t *testing.T) map[string][]string {
	t.Helper()
	text := read(t, reference)
	there := make(map[string][]string)
	for _, match := range regexp.MustCompile("(?m)^## (\\w+)\n\n(Counter|Gauge|Histogram)(?: by ((?:`\\w+`(?:, )?)+))?\\. ").FindAllStringSubmatch(text, -1) {
		name, kind := match[1], match[2]
		var labels []string
		for _, label := range strings.Split(match[3], ", ") {
			labels = append(labels, strings.Trim(label, "`"))
		}
		names := []string{name}
		if kind == "Histogram" {
			names = []string{name + "_bucket", name + "_sum", name + "_count"}
		}
		for _, name := range names {
			there[name] = append(slices.Clone(labels), "job", "instance", "le")
		}
	}
	if n := strings.Count(text, "\n## "); n < 20 || len(there) < n {
		t.Fatalf("the reference has %d metrics, %d were understood", n, len(there))
	}
	return there
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// check parses an expression and compares what it names with what there is.
func check(t *testing.T, there map[string][]string, where, expression string) (names []string) {
	t.Helper()
	expression = strings.NewReplacer("$__rate_interval", "5m").Replace(expression)
	tree, err := parser.NewParser(parser.Options{}).ParseExpr(expression)
	if err != nil {
		t.Errorf("%s: %v\n%s", where, err, expression)
		return nil
	}
	var labels []string
	parser.Inspect(tree, func(node parser.Node, _ []parser.Node) error {
		switch node := node.(type) {
		case *parser.VectorSelector:
			names = append(names, node.Name)
			known, ok := there[node.Name]
			if !ok {
				t.Errorf("%s: no metric is called %q", where, node.Name)
			}
			for _, matcher := range node.LabelMatchers {
				if matcher.Name != "__name__" && !slices.Contains(known, matcher.Name) {
					t.Errorf("%s: %s has no label %q", where, node.Name, matcher.Name)
				}
			}
		case *parser.AggregateExpr:
			labels = append(labels, node.Grouping...)
		case *parser.BinaryExpr:
			if node.VectorMatching != nil {
				labels = append(labels, node.VectorMatching.MatchingLabels...)
			}
		}
		return nil
	})
	for _, label := range labels {
		if !slices.ContainsFunc(names, func(name string) bool { return slices.Contains(there[name], label) }) {
			t.Errorf("%s: groups by %q, which none of its metrics has", where, label)
		}
	}
	return names
}

func TestAlerts(t *testing.T) {
	t.Parallel()
	there := metricsThere(t)
	groups, errs := rulefmt.Parse([]byte(read(t, alerts)), false, model.LegacyValidation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	tests := read(t, "../../deploy/prometheus/alerts_test.yaml") + read(t, "../../deploy/prometheus/alerts_days_test.yaml")
	runbooks := read(t, operating)
	for _, group := range groups.Groups {
		for _, rule := range group.Rules {
			check(t, there, rule.Alert, rule.Expr)
			if !slices.Contains([]string{"warning", "critical"}, rule.Labels["severity"]) {
				t.Errorf("%s: the severity is %q", rule.Alert, rule.Labels["severity"])
			}
			for _, annotation := range []string{"summary", "description"} {
				if rule.Annotations[annotation] == "" {
					t.Errorf("%s: has no %s", rule.Alert, annotation)
				}
			}
			if got, want := rule.Annotations["runbook"], "docs/operating.md#"+strings.ToLower(rule.Alert); got != want {
				t.Errorf("%s: the runbook is %q, want %q", rule.Alert, got, want)
			}
			if !strings.Contains(runbooks, "\n#### "+rule.Alert+"\n") {
				t.Errorf("%s: docs/operating.md does not say what to do", rule.Alert)
			}
			fires := regexp.MustCompile(`alertname: ` + rule.Alert + `\n\s+exp_alerts:\n\s+- `)
			silent := regexp.MustCompile(`alertname: ` + rule.Alert + `\n\s+exp_alerts: \[\]`)
			if !fires.MatchString(tests) || !silent.MatchString(tests) {
				t.Errorf("%s: needs a test in which it fires and one in which it does not", rule.Alert)
			}
		}
	}
}

func TestDashboard(t *testing.T) {
	t.Parallel()
	there := metricsThere(t)
	var board struct {
		UID        string
		Title      string
		Panels     []panel
		Templating struct {
			List []struct{ Name, Type, Definition string }
		}
		Annotations struct {
			List []struct {
				Expr       string
				Datasource struct{ UID string }
			}
		}
	}
	if err := json.Unmarshal([]byte(read(t, dashboard)), &board); err != nil {
		t.Fatal(err)
	}
	if board.UID == "" || board.Title == "" {
		t.Error("it has no uid or title")
	}
	shown := make(map[string]bool)
	ids := make(map[int]bool)
	for _, p := range board.Panels {
		if ids[p.ID] {
			t.Errorf("panel %q: the id %d is another's", p.Title, p.ID)
		}
		ids[p.ID] = true
		if p.Type == "row" {
			continue
		}
		if p.Datasource.UID != "${datasource}" || len(p.Targets) == 0 {
			t.Errorf("panel %q: has no targets, or a data source of its own", p.Title)
		}
		for _, target := range p.Targets {
			for _, name := range check(t, there, "panel "+p.Title, target.Expr) {
				shown[regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")] = true
			}
		}
	}
	for _, annotation := range board.Annotations.List {
		check(t, there, "annotation", annotation.Expr)
	}
	for _, variable := range board.Templating.List {
		if variable.Type != "query" {
			continue
		}
		match := regexp.MustCompile(`^label_values\((.+), \w+\)$`).FindStringSubmatch(variable.Definition)
		if match == nil {
			t.Errorf("variable %s: %q is no label_values", variable.Name, variable.Definition)
			continue
		}
		check(t, there, "variable "+variable.Name, match[1])
	}
	for name := range there {
		name = regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
		if !shown[name] && name != "scheduler_term" { // an annotation
			t.Errorf("no panel shows %s", name)
		}
	}
}

type panel struct {
	ID         int
	Type       string
	Title      string
	Datasource struct{ UID string }
	Targets    []struct{ Expr string }
}
