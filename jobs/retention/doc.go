// Package retention is the cleanup engine: it keeps tables within rules, in short
// transactions, beside an application that goes on working.
//
// A [Rule] is a SELECT of the ctid of the rows to go. From that one text come the
// dry run, which counts it; the pass, which notes every row that it names; the
// batches, which lock some of those rows, ask the rule again about them, and
// delete or update what it still names; and the explanation ([Job.Explain]). Dry
// run and real run cannot drift apart.
//
// # Course of a run
//
// Targets are worked one after the other, in the order of [Config.Rules]. For
// each, the pass looks through the table once, outside the run's own transactions,
// and notes the candidates in the table retention_candidates. Then come the
// batches. Each is one transaction of the run: it locks rows with SKIP LOCKED, so
// it never waits for the application's locks on them; then, as a second statement
// with a snapshot of its own, it changes those that the rule still names. Whatever
// was committed before the locks were granted is seen. How many rows a batch takes
// follows from how long the last one held its locks.
//
// What a batch leaves out, because a row was locked, was changed or is no longer
// named by the rule, the next run looks at again.
//
// The cursor that is committed with each batch lets any replica go on after it. A
// run without candidates writes nothing but its record.
//
// # Updates in place
//
// A rule with [Rule.Set] takes the rows of a page in different transactions, and
// reads a page again before it takes the next row of it. The room that an earlier
// row's old version held is then free, the new version stays on the page, and no
// index is touched, if none holds a column that is set. A transaction that stays open
// elsewhere, such as a report or a dump, keeps old versions from being removed: the
// updates then cost what one big UPDATE costs.
//
// # What is not promised
//
// A table that is partitioned or inherited from is refused: a ctid names a row only
// within one ordinary table. Rows that a foreign key cascades to, or that triggers
// change, are not counted. A row that two rules of one run name counts for the
// first; a dry run counts it there, too, if both rules delete.
package retention
