package retention

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/sql"
)

const invoicesRule = `-- Paid invoices.
-- requires: customers, orders(paid_at)
SELECT i.ctid
FROM invoices i
WHERE i.paid_at < @now::timestamptz - make_interval(days => @keep_days) -- not @this
  -- if exists: disputes
  AND NOT EXISTS (SELECT FROM disputes d WHERE d.invoice = i.id)
  -- end
  -- if exists: invoices(frozen), audits
  AND NOT i.frozen
  -- end
  AND i.total > @minimum;
`

func TestReadRule(t *testing.T) {
	t.Parallel()
	text, err := readRule(invoicesRule)
	require.NoError(t, err)
	require.Equal(t, []sql.Relation{{Relation: "customers"}, {Relation: "orders", Attribute: "paid_at"}}, text.requires)
	require.Equal(t, []sql.Relation{{Relation: "disputes"}, {Relation: "invoices", Attribute: "frozen"}, {Relation: "audits"}}, text.optional())
	require.Equal(t, []string{"now", "keep_days", "minimum"}, text.arguments())

	require.Equal(t, `-- Paid invoices.
SELECT i.ctid
FROM invoices i
WHERE i.paid_at < @now::timestamptz - make_interval(days => @keep_days) -- not @this
  AND NOT EXISTS (SELECT FROM disputes d WHERE d.invoice = i.id)
  AND NOT i.frozen
  AND i.total > @minimum`, text.whole())

	missing := []sql.Relation{{Relation: "audits"}}
	require.Equal(t, `-- Paid invoices.
SELECT i.ctid
FROM invoices i
WHERE i.paid_at < @now::timestamptz - make_interval(days => @keep_days) -- not @this
  AND NOT EXISTS (SELECT FROM disputes d WHERE d.invoice = i.id)
  AND i.total > @minimum`, text.without(func(r sql.Relation) bool { return slices.Contains(missing, r) }))
}

func TestReadRuleRefuses(t *testing.T) {
	t.Parallel()
	for text, reason := range map[string]string{
		"-- end\nSELECT 1":                                   `"-- end" without`,
		"SELECT 1\n-- if exists: a\n":                        `without "-- end"`,
		"-- if exists: a\n-- if exists: b\n-- end\n-- end\n": `within another`,
		"-- requires:\nSELECT 1":                             `write "table" or "table(column)"`,
		"-- requires: a b\nSELECT 1":                         `"a b" in a comment line`,
		"-- if exists: a(b,c)\n-- end":                       `"a(b" in a comment line`,
	} {
		_, err := readRule(text)
		require.ErrorContains(t, err, reason, text)
	}
}

func TestReadDirect(t *testing.T) {
	t.Parallel()
	for text, expected := range map[string]*direct{
		"SELECT t.ctid FROM {table} t WHERE t.a < 1":                            {"t", "t.a < 1"},
		"-- Old.\n-- Very.\nselect T.ctid\nfrom {table} as t\nwhere\n\tt.a < 1": {"t", "\tt.a < 1"},
		"SELECT t.ctid FROM tables t WHERE t.a < 1":                             nil,
		"SELECT t.ctid FROM {table} t, other o WHERE t.a < 1":                   nil,
		"SELECT t.ctid FROM {table} t JOIN other o USING (id) WHERE t.a < 1":    nil,
		"SELECT o.ctid FROM {table} t WHERE t.a < 1":                            nil,
		"SELECT t.ctid, 1 FROM {table} t WHERE t.a < 1":                         nil,
		"SELECT DISTINCT t.ctid FROM {table} t WHERE t.a < 1":                   nil,
		"WITH x AS (SELECT 1) SELECT t.ctid FROM {table} t WHERE t.a < 1":       nil,
		"SELECT t.ctid FROM {table} t":                                          nil,
	} {
		require.Equal(t, expected, readDirect(text), text)
	}
}

func TestSetColumns(t *testing.T) {
	t.Parallel()
	for set, expected := range map[string][]string{
		"ended_at = now()": {"ended_at"},
		`Closed_At = now(), "Is ""open""" = false, note = concat(note, ', a = b', "x,y")`: {"closed_at", `Is "open"`, "note"},
		"(a, b) = (1, 2), c[1] = 3":  {"a", "b", "c"},
		"state = (SELECT 'a' = 'b')": {"state"},
		"":                           {},
	} {
		require.Equal(t, expected, setColumns(set), set)
	}
	require.Equal(t, []string{"lower", "lower", "mine", "Mine", "in", "IN"}, functions("lower(a) -- not(this)\n AND Mine (b) IN (c) AND x.y = (1)"))
}
