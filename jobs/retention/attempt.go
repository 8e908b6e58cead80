package retention

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/sql"
)

// cursor is what is committed with each batch. Replicas of different versions read
// it: fields are only ever added, and targets go by name.
type cursor struct {
	// Finished lists the targets that are done.
	Finished []string `json:"finished,omitempty"`
	// Looked lists the targets that have been looked through, while there are others
	// that have not; LookedPart is the oid of the last part of the next one that has.
	Looked     []string `json:"looked,omitempty"`
	LookedPart int64    `json:"looked_part,omitempty"`
	// IsAllowed: everything has been looked through, and the run is within its bounds.
	IsAllowed bool `json:"allowed,omitempty"`
	// Units are what is left to work; the first is being worked.
	Units []unit `json:"units,omitempty"`
	// Next is the number of the next candidate, from 1; 0 before the first. Block is the
	// next block, within a range of which a part is done.
	Next  int64 `json:"at,omitempty"`
	Block int64 `json:"block,omitempty"`
	// Left counts the candidates of the target that were left out, in the units that are
	// done, of which Refused were by an error of the database: Refusal is the first.
	Left    int64  `json:"left_out,omitempty"`
	Refused int64  `json:"refused,omitempty"`
	Refusal string `json:"refusal,omitempty"`
	// Notes are what people should know of the target: notesMax of a kind. NoteKinds
	// counts them all.
	Notes     []string            `json:"notes,omitempty"`
	NoteKinds map[string]noteKind `json:"note_kinds,omitempty"`
}

// notesMax is the most notes of one kind that a target keeps: there may be a thousand
// partitions.
const notesMax = 3

// noteKind counts the notes of one kind, of which the last that was kept has the index
// Last.
type noteKind struct {
	Count int `json:"count"`
	Last  int `json:"last"`
}

// unit is what a pass has found in a table, or in one part of it.
type unit struct {
	// Target is the rule's, Part the oid of the table.
	Target string `json:"target"`
	Part   int64  `json:"part"`
	// Pass is the key of its candidates, Total how many there are, Pages on how many
	// pages and Waves on one of them at most.
	Pass  string `json:"pass"`
	Total int64  `json:"total"`
	Pages int64  `json:"pages,omitempty"`
	Waves int    `json:"waves,omitempty"`
	// Round counts the passes, from 1.
	Round int `json:"round,omitempty"`
	// IsWhole: it is a partition, and every row of it is to go.
	IsWhole bool `json:"whole,omitempty"`
	// Note is what people should know of it.
	Note string `json:"note,omitempty"`
	// IsStale: an earlier target has changed rows of the table since.
	IsStale bool `json:"stale,omitempty"`
	// File is the file of the table at the time.
	File int64 `json:"file"`
	// Mark, Horizon and Met are for a rule with a mark: the mark, and how to tell what
	// the pass has seen.
	Mark    int64    `json:"mark,omitempty"`
	Horizon int64    `json:"horizon,omitempty"`
	Met     []string `json:"met,omitempty"`
	// Left and Refused are those of the cursor, for this pass: another one finds again
	// what was left.
	Left    int64 `json:"left_out,omitempty"`
	Refused int64 `json:"refused,omitempty"`
}

// wantsAnotherPass says, of a unit of which every candidate was worked, whether to look
// where the application has moved those of an update that were not found.
func (u unit) wantsAnotherPass(isUpdate bool) bool {
	return isUpdate && u.Round <= 1 && u.Left != u.Refused
}

// attempt is the work of one attempt. Prepare and Next are called in turn.
type attempt struct {
	// isHasty: it only looks, and waits for nobody.
	isHasty bool
	job     *Job
	run     *jobs.Run
	sql     *sql.Statements
	values  arguments
	sizers  sizers
	pace    pace

	cursor cursor
	// found is what Prepare found out, for the record of the next batch.
	found jobs.Targets
	// work is the unit being worked, and chunks its next candidates; nil between units.
	work   *work
	chunks []sql.Chunk
	// piece is the next batch.
	piece piece
	// rows counts what the run has done, in all its attempts.
	rows int64
	// counted is what a dry run has counted.
	counted map[string]int64
	// undone counts single rows in a row that could not be changed; gone how often the
	// candidates of the unit had gone.
	undone, gone int
	// skipsLocked: the next piece is tried without the rows that are locked.
	skipsLocked bool
	// noted are the notes of the target, those that were only counted too.
	noted map[string]bool
}

// work is a rule in the variant that fits the database, for one part of its table.
type work struct {
	parsedRule
	statements
	plan

	part sql.Part
	// root is the oid of the rule's table.
	root int64
}

var (
	_ jobs.Batches  = (*attempt)(nil)
	_ jobs.Preparer = (*attempt)(nil)
)

// Prepare finds the candidates of the next batch. Before the first, it looks through
// the tables of all targets; in a dry run it counts the next target.
func (a *attempt) Prepare(ctx context.Context) error {
	a.piece = piece{}
	if a.run.DryRun {
		return a.countNext(ctx)
	}
	if !a.cursor.IsAllowed {
		isDone, err := a.look(ctx)
		if err != nil || !isDone {
			return err
		}
	}
	for len(a.cursor.Units) > 0 {
		u := &a.cursor.Units[0]
		i := a.ruleIndex(u.Target)
		if i < 0 {
			a.cursor.Units = a.cursor.Units[1:] // another version's rule
			continue
		}
		if err := a.prepareUnit(ctx, i); err != nil {
			return a.wrap(a.job.rules[i], err)
		}
		if a.piece.rows > 0 {
			return nil
		}
	}
	return nil
}

// prepareUnit finds the next batch of the first unit, or ends the unit.
func (a *attempt) prepareUnit(ctx context.Context, i int) error {
	if a.work == nil {
		isOpen, err := a.open(ctx, i)
		if err != nil || !isOpen {
			return err
		}
	}
	if err := a.waitForOthers(ctx); err != nil {
		return err
	}
	if u := a.cursor.Units[0]; a.takesWhole(u) {
		a.piece = piece{rows: u.Total, next: u.Total + 1, isWhole: true}
		return nil
	}
	if err := a.load(ctx); err != nil {
		return err
	}
	if a.piece.rows == 0 {
		a.found = a.finishUnit(a.found, jobs.Target{})
		return nil
	}
	return a.prune(ctx)
}

// Next works the candidates that Prepare has found, and records what it did and what
// Prepare found out.
func (a *attempt) Next(ctx context.Context, batch *jobs.Batch) (bool, error) {
	if batch.Targets == nil {
		batch.Targets = make(jobs.Targets)
	}
	batch.Targets.Merge(a.found)
	a.found = nil
	if a.piece.rows > 0 {
		if err := a.clean(ctx, batch); err != nil {
			return false, a.wrap(a.work.parsedRule, err)
		}
	}
	isDone := a.isDone()
	if isDone && !a.run.DryRun {
		// Attempts that have died may have left passes of their own.
		if err := a.sql.ClearRun(ctx, batch.Tx, a.run.ID); err != nil {
			return false, err
		}
	}
	stored := a.cursor
	stored.Finished, stored.Units = slices.Clone(stored.Finished), slices.Clone(stored.Units)
	batch.Cursor = stored
	batch.Message = a.message(isDone)
	batch.Total = a.total()
	return isDone, nil
}

func (a *attempt) isDone() bool {
	if a.run.DryRun {
		return a.nextRule() < 0
	}
	return a.cursor.IsAllowed && len(a.cursor.Units) == 0
}

// nextRule is the index of the first rule that is neither finished nor looked
// through; -1 if all are.
func (a *attempt) nextRule() int {
	return slices.IndexFunc(a.job.rules, func(r parsedRule) bool {
		return !slices.Contains(a.cursor.Finished, r.Target) && !slices.Contains(a.cursor.Looked, r.Target)
	})
}

func (a *attempt) ruleIndex(target string) int {
	return slices.IndexFunc(a.job.rules, func(r parsedRule) bool { return r.Target == target })
}

// open begins to work the first unit, in the variant that fits the database. It reports
// false, and ends the unit, if there is nothing to work on any more.
func (a *attempt) open(ctx context.Context, i int) (bool, error) {
	rule := a.job.rules[i]
	v, err := a.variantOf(ctx, i)
	if err != nil {
		return false, err
	}
	if len(v.notes) > 0 {
		a.notef("%s", strings.Join(firstFew(v.notes), "; ")) // the same for every part
	}
	a.cursor.Units = slices.Clone(a.cursor.Units)
	u := &a.cursor.Units[0]
	at := slices.IndexFunc(v.parts, func(p sql.Part) bool { return p.OID == u.Part })
	if v.skip.Note != "" || at < 0 {
		a.notef("%s is not there any more", rule.Table)
		a.found = a.finishUnit(a.found, v.skip)
		return false, nil
	}
	if a.work, err = a.newWork(ctx, v, v.parts[at]); err != nil {
		return false, err
	}
	a.sizers.startAt(a.work.first, a.work.max)
	if a.work.note != "" {
		a.notef("%s", a.work.note)
	}
	if u.Note != "" {
		a.note("part", u.Note)
		u.Note = "" // counted once, however often the unit is opened
	}
	if err := a.checkReferences(ctx, a.work, a.foundOf(u.Target)); err != nil {
		return false, a.tooLate(err)
	}
	switch {
	case u.File != a.work.part.File:
		a.notef("%s was rewritten after it was looked through (VACUUM FULL, CLUSTER), and was looked through again", a.work.part.Name)
		a.run.Logger.InfoContext(ctx, "the table was rewritten, its rows have other places: starting over", slog.String("table", a.work.part.Name))
		return true, a.again(ctx, u.Round)
	case u.IsStale && a.cursor.Next == 0:
		return true, a.again(ctx, u.Round)
	}
	return true, nil
}

// notef keeps one line for people about the target, once. Lines of the same format are
// of one kind.
func (a *attempt) notef(format string, args ...any) { a.note(format, fmt.Sprintf(format, args...)) }

func (a *attempt) note(kind, line string) {
	if a.noted[line] || slices.Contains(a.cursor.Notes, line) {
		return
	}
	if a.noted == nil {
		a.noted = make(map[string]bool)
	}
	a.noted[line] = true
	// Copies: the cursor that is being committed shares them.
	kinds := maps.Clone(a.cursor.NoteKinds)
	if kinds == nil {
		kinds = make(map[string]noteKind)
	}
	k := kinds[kind]
	if k.Count++; k.Count <= notesMax {
		a.cursor.Notes = append(slices.Clone(a.cursor.Notes), line)
		k.Last = len(a.cursor.Notes) - 1
	}
	kinds[kind] = k
	a.cursor.NoteKinds = kinds
}

// notes are the target's notes, with the number of those that were not kept.
func (a *attempt) notes() []string {
	lines := slices.Clone(a.cursor.Notes)
	for _, k := range a.cursor.NoteKinds {
		if k.Count > notesMax && k.Last < len(lines) {
			lines[k.Last] += fmt.Sprintf(", and %d more", k.Count-notesMax)
		}
	}
	return lines
}

// tooLate makes of an error that would block a run one that says what it has done, if
// it has done something.
func (a *attempt) tooLate(err error) error {
	if a.rows == 0 || !jobs.IsBlocked(err) {
		return err
	}
	return jobs.Permanent(fmt.Errorf("after %d rows have been changed: %s", a.rows, err.Error()))
}

// again makes the first unit's pass once more.
func (a *attempt) again(ctx context.Context, round int) error {
	old := a.cursor.Units[0]
	found, err := a.pass(ctx, a.work)
	if err != nil {
		return err
	}
	found.Round = round
	a.cursor.Units = slices.Clone(a.cursor.Units)
	a.cursor.Units[0] = found
	a.cursor.Next, a.cursor.Block = 1, 0
	a.chunks = nil
	if err := a.clearPass(ctx, old.Pass); err != nil {
		return err
	}
	err = a.checkBounds(ctx)
	switch {
	case !jobs.IsBlocked(err):
		return err
	case round > 1:
		a.notef("%d more rows would have been changed in another pass, and were left, since that would pass a bound", found.Total)
		a.cursor.Units[0].Total = 0
		return a.clearPass(ctx, found.Pass)
	case a.rows == 0:
		a.dropOwn(ctx)
	}
	return a.tooLate(err)
}

// finishUnit ends the first unit, and with its last one the target, and adds what is
// to be recorded of the target to targets.
func (a *attempt) finishUnit(targets jobs.Targets, target jobs.Target) jobs.Targets {
	if targets == nil {
		targets = make(jobs.Targets)
	}
	u := a.cursor.Units[0]
	a.logUnit(u)
	// A range may have had more rows than it was thought to have.
	a.cursor.Left, a.cursor.Refused = a.cursor.Left+max(u.Left, u.Refused), a.cursor.Refused+u.Refused
	a.cursor.Units = slices.Clone(a.cursor.Units[1:])
	a.cursor.Next, a.cursor.Block = 0, 0
	a.work, a.chunks, a.undone, a.gone = nil, nil, 0, 0
	if len(a.cursor.Units) == 0 || a.cursor.Units[0].Target != u.Target {
		target.Note = a.closingNote(target.Note)
		a.cursor.Left, a.cursor.Refused, a.cursor.Refusal = 0, 0, ""
		a.cursor.Notes, a.cursor.NoteKinds, a.noted = nil, nil, nil
		a.cursor.Finished = append(slices.Clone(a.cursor.Finished), u.Target)
	}
	targets.Merge(jobs.Targets{u.Target: target})
	return targets
}

// closingNote is what people should know of a target that is done.
func (a *attempt) closingNote(note string) string {
	var lines []string
	if note != "" {
		lines = append(lines, note)
	}
	if left := a.cursor.Left - a.cursor.Refused; left > 0 {
		lines = append(lines, fmt.Sprintf("%d left for the next run: locked, changed meanwhile, or to go no more", left))
	}
	if a.cursor.Refused > 0 {
		lines = append(lines, fmt.Sprintf("%d refused by the database, such as: %s", a.cursor.Refused, a.cursor.Refusal))
	}
	return strings.Join(append(lines, a.notes()...), "; ")
}

func (a *attempt) message(isDone bool) string {
	switch {
	case !isDone && !a.run.DryRun && !a.cursor.IsAllowed:
		return fmt.Sprintf("looked through %d of %d targets", len(a.cursor.Looked)+len(a.cursor.Finished), len(a.job.rules))
	case len(a.cursor.Units) > 0 && a.cursor.Next > 0:
		u := a.cursor.Units[0]
		text := fmt.Sprintf("%s: %d of %d candidates", u.Target, a.cursor.Next-1, u.Total)
		if u.Waves > 1 && a.piece.wave > 0 {
			text += fmt.Sprintf(", wave %d of %d", a.piece.wave, u.Waves)
		}
		if u.Round > 1 {
			text += fmt.Sprintf(", pass %d", u.Round)
		}
		if a.pace.why != "" {
			text += "; " + a.pace.why
		}
		return text
	case isDone && a.run.DryRun:
		return fmt.Sprintf("%d rows would be affected", a.rows)
	case isDone:
		return fmt.Sprintf("%d rows affected", a.rows)
	}
	return ""
}

// wrap names the target of an error, and the fix where the server's code tells it.
func (a *attempt) wrap(rule parsedRule, err error) error {
	if err == nil {
		return nil
	}
	var pg *pgconn.PgError
	fix := ""
	switch {
	case !errors.As(err, &pg):
	case pg.Code == codeInsufficientPrivilege && strings.Contains(pg.Message, "row-level security"):
		fix = ": rows that a policy hides would look as if they were not there: give the scheduler's role BYPASSRLS"
	case pg.Code == codeInsufficientPrivilege && pg.Where != "":
		where := pg.Where[strings.LastIndexByte(pg.Where, '\n')+1:]
		fix = fmt.Sprintf(": a trigger, or another function, has the rights of the scheduler's role (%s): grant the role what it needs, or make it SECURITY DEFINER", where)
	case pg.Code == codeInsufficientPrivilege:
		fix = ": grant the scheduler's role SELECT on the tables of the rule, and UPDATE (which locks rows) and DELETE on those that it locks and deletes from"
	case pg.Code == codeQueryCanceled && strings.Contains(pg.Message, "statement timeout"):
		fix = ": a look through the whole table takes longer than the statement_timeout of the scheduler's role: raise it, by ALTER ROLE … SET statement_timeout"
	}
	return fmt.Errorf("target %q (table %s): %w%s", rule.Target, rule.Table, err, fix)
}

// inTx runs fn in a transaction beside the run's own.
func (a *attempt) inTx(ctx context.Context, fn func(tx pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, a.run.Beginner, fn)
}

// clearPass deletes the candidates of a pass.
func (a *attempt) clearPass(ctx context.Context, pass string) error {
	return a.inTx(ctx, func(tx pgx.Tx) error { return a.sql.ClearCandidates(ctx, tx, a.run.ID, pass, math.MaxInt64) })
}

// total is how many rows the run will have changed, as far as is known.
func (a *attempt) total() int64 {
	total := a.rows
	for i, u := range a.cursor.Units {
		total += u.Total
		if i == 0 && a.cursor.Next > 0 {
			total -= a.cursor.Next - 1
		}
	}
	return total
}

// Target is the one being worked; empty between targets.
func (c cursor) Target() string {
	if len(c.Units) == 0 {
		return ""
	}
	return c.Units[0].Target
}
