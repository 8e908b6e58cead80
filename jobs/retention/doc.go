// Package retention is the cleanup engine: it keeps tables within rules, in short
// transactions, beside an application that goes on working.
//
// A [Rule] is a SELECT of the ctid of the rows to go. From that one text come the
// dry run, which counts it; the pass, which finds every row that it names; the
// batches, which ask the rule again about some of those rows, locked, and delete or
// update what it still names; and the explanation ([Job.ExplainOn]). Dry run and real
// run cannot drift apart.
//
// # Course of a run
//
// First the run looks through the tables of all targets, once each, outside its own
// transactions, and keeps what it found in the table retention_candidates. Nothing has
// been changed when it compares that with its bounds ([ParameterMaxRows],
// [ParameterMaxShare]) and looks for foreign keys without an index: a run that would
// go past them ends there, blocked.
//
// Then the targets are worked one after the other, in the order of [Config.Rules], in
// batches. Each is one transaction of the run. It locks rows with SKIP LOCKED, so it
// does not wait for the application's locks on them, and changes those that the rule
// still names. If the rule looks at other tables, too, that is a second statement, with
// a snapshot of its own: whatever was committed before the locks were granted is seen.
//
// The cursor that is committed with each batch lets any replica go on after it. If
// the table was rewritten meanwhile (VACUUM FULL, CLUSTER), its rows have other
// places: it is looked through again. A run without candidates writes nothing but its
// record.
//
// What a batch leaves out, because a row was locked, was changed or is no longer named
// by the rule, the next run looks at again; a rule that updates looks once more
// itself, for rows that the application has moved. A row that a constraint or a trigger
// refuses is left, and the target's note says so; when ten in a row are refused, the
// attempt fails.
//
// # The plan
//
// How rows are worked follows from the catalog and the planner, and is written, with the
// reason, into the run's details.
//
// Waves, for a rule with [Rule.Set] whose columns no index has to do with: the rows of
// a page change in different transactions. The room that an earlier row's old version
// held is then free, the new version stays on the page, and no index is touched (HOT).
// Where a wave would have fewer than 32 rows, that saves less than its transaction costs,
// and the rest goes in as few as the batches' time allows.
// A transaction that stays open elsewhere, such as a report or a dump, keeps old
// versions from being removed: the updates then cost what one big UPDATE costs, and
// the run says so.
//
// Block ranges, for a rule that deletes and looks at nothing but the row itself, from
// a table to which nothing refers: what it names on some consecutive pages goes in one
// statement.
//
// Else the rows in the order of the table. Order by a key was never better in what was
// measured: see docs/benchmarks.md.
//
// # Batches, and others
//
// How many rows a batch takes follows from how long the last ones held their locks;
// the first rows of pages, which are dear, and the later ones, which are cheap, each
// have a size of their own. Foreign keys and triggers, deferred ones too, are part of
// that time. The engine makes its batches smaller and pauses when others wait for its
// locks or its rows become dearer, slows down for a replica of the database that is too
// far behind ([ParameterLagMax]), and lets whoever wants a lock on the whole table go
// first.
//
// # Partitions and heirs
//
// A rule that writes {table} for its table is worked in each partition by itself. If
// every row of one is to go, the run proposes to detach or drop it, and does so if
// asked ([ParameterPartitions]). Triggers for each statement of a partitioned table itself
// do not fire, which the target's note says; those of its partitions, and triggers for
// each row, do.
//
// # Archive
//
// With [Rule.ArchiveTable], or the parameter [ParameterArchive], the statement that
// deletes rows also writes them elsewhere: both happen or neither. Rows that a foreign
// key would take along are not archived, so such a run is blocked.
//
// # What is not promised
//
// Rows that a foreign key cascades to, or that triggers change, are not counted. A row
// that two rules of one run name counts for the first; for the bounds, and where an
// earlier rule updates, it counts twice.
package retention
