// Package metrics holds every metric of the scheduler: names, help, labels and
// buckets are here and nowhere else, and docs/reference/metrics.md is made of them.
//
// What happens in the scheduler is told to a [Metrics]; a nil one takes everything
// and keeps nothing. Nothing here asks the database: a scrape reads what was told, so
// it costs the same whether the database answers or not. What only a query can know
// is sampled beside (see [Metrics.Sampled]), and says how old it is.
//
// Labels are bounded: a job is one of the registry or [Other], everything else comes
// from a fixed list. No error text and no id ever becomes a label.
package metrics
