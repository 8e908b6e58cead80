package retention

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/jobs"
)

// invoices is a job with a rule of every kind.
func invoices(change func(c *Config)) Config {
	c := Config{
		Definition: jobs.Definition{
			Name:     "cleanup_invoices",
			Schedule: "@daily",
			Parameters: []jobs.Parameter{
				{Name: "keep_days", Type: jobs.TypeInteger, Default: 30},
				{Name: "minimum", Type: jobs.TypeNumber, Default: 0},
			},
		},
		Rules: []Rule{
			{Target: "old", Table: "invoices", SQL: "SELECT ctid FROM invoices WHERE at < @now"},
			{Target: "paid", Table: "invoices", SQL: invoicesRule},
			{Target: "drafts", Table: "drafts", SQL: "SELECT ctid FROM drafts WHERE closed_at IS NULL", Set: "closed_at = now()"},
			{
				Target: "topics", Table: "topics",
				SQL:      "SELECT t.ctid FROM topics t WHERE NOT EXISTS (SELECT FROM posts p WHERE p.topic = t.id AND p.id > @mark)",
				Children: []Child{{Table: "threads", Column: "topic", References: "id"}},
				Mark:     &Mark{Name: "mark", Table: "posts", Column: "id"},
			},
		},
	}
	if change != nil {
		change(&c)
	}
	return c
}

func TestNewFillsDefaultsInACopy(t *testing.T) {
	t.Parallel()
	given := invoices(nil)
	j, err := New(given)
	require.NoError(t, err)
	require.NoError(t, jobs.Validate(j))
	require.Zero(t, given.BatchTime)
	require.Equal(t, given.Definition, j.Config().Definition)
	require.Len(t, j.Definition().Parameters, len(given.Definition.Parameters)+6)

	c := j.Config()
	require.Equal(t, BatchTimeDefault, c.BatchTime)
	require.Equal(t, BatchRowsMaxDefault, c.BatchRowsMax)
	require.Equal(t, LockWaitDefault, c.LockWait)
	require.Equal(t, MarkWaitDefault, c.MarkWait)
	c.Rules[0].Target = "changed"
	require.Equal(t, "old", j.Config().Rules[0].Target)
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for reason, change := range map[string]func(c *Config){
		`job "cleanup_invoices": invalid job: no Rules`:         func(c *Config) { c.Rules = nil },
		`cannot be negative`:                                    func(c *Config) { c.LockWait = -time.Second },
		`parameter "max_rows": every cleanup job has one`:       func(c *Config) { c.Definition.Parameters[0].Name = "max_rows" },
		`MaxShare is 1.5: it is a share`:                        func(c *Config) { c.MaxShare = 1.5 },
		`rule "Old": Target: a name is lower-case`:              func(c *Config) { c.Rules[0].Target = "Old" },
		`rule "old": its Target is used twice`:                  func(c *Config) { c.Rules[1].Target = "old" },
		`rule "old": Table is empty`:                            func(c *Config) { c.Rules[0].Table = "" },
		`rule "old": SQL is empty`:                              func(c *Config) { c.Rules[0].SQL = "-- nothing\n;" },
		`rule "old": SQL: @keep is neither`:                     func(c *Config) { c.Rules[0].SQL += " - @keep" },
		`rule "old": SQL: "-- end" without`:                     func(c *Config) { c.Rules[0].SQL += "\n-- end" },
		`rule "topics": Mark: SQL does not use @other`:          func(c *Config) { c.Rules[3].Mark = &Mark{Name: "other", Table: "a", Column: "b"} },
		`rule "topics": Mark: Name "now" is taken`:              func(c *Config) { c.Rules[3].Mark = &Mark{Name: "now", Table: "a", Column: "b"} },
		`rule "topics": Mark: {Name:mark Table: Column:id}: al`: func(c *Config) { c.Rules[3].Mark = &Mark{Name: "mark", Column: "id"} },
		`rule "topics": Children: {Table:threads Column:`:       func(c *Config) { c.Rules[3].Children[0].Column = "" },
		`rule "topics": Children is only for rules that delete`: func(c *Config) { c.Rules[3].Set = "gone = true" },
	} {
		_, err := New(invoices(change))
		require.ErrorIs(t, err, jobs.ErrInvalidJob, reason)
		require.ErrorContains(t, err, reason)
	}
}

func TestExplainShowsWhatIsSent(t *testing.T) {
	t.Parallel()
	j, err := New(invoices(func(c *Config) { c.Rules[2].Table = "scheduler.drafts" }))
	require.NoError(t, err)
	e := j.Explain("other")
	require.Len(t, e, 4)

	require.Equal(t, "old", e[0].Target)
	require.Equal(t, "DELETE", e[0].Action)
	require.NotContains(t, e[0].Count, "EXCEPT")
	require.Contains(t, e[0].Pass, "ORDER BY r.ctid")
	require.Contains(t, e[0].Batch[0], "FOR UPDATE SKIP LOCKED")

	require.Equal(t, []string{"invoices", "customers", "orders(paid_at)"}, e[1].Requires)
	require.Equal(t, []string{"disputes", "invoices(frozen)", "audits"}, e[1].Optional)
	require.Contains(t, e[1].Count, "EXCEPT\n(\n"+e[0].Rule, "a row of two rules is counted once")

	require.Equal(t, "other.drafts", e[2].Table)
	require.Equal(t, "SET closed_at = now()", e[2].Action)
	require.Contains(t, e[2].Batch[0], "FOR NO KEY UPDATE SKIP LOCKED")

	require.Equal(t, []string{"topics", "threads", "posts"}, e[3].Requires)
	require.Len(t, e[3].Batch, 3)
	require.Contains(t, e[3].Batch[1], "FOR UPDATE OF k NOWAIT")
	for _, one := range e {
		require.NotRegexp(t, `\{[a-z]+\}|scheduler\.`, one.Count+one.Pass+one.Batch[0]+one.Batch[len(one.Batch)-1])
		for _, text := range []string{one.Count, one.Pass, one.Batch[len(one.Batch)-1]} {
			require.Contains(t, text, one.Rule, "all of them hold the one text")
		}
	}
}
