package blog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/systempromptio/scheduler/jobs"
)

const (
	// IngestionName is the name of the job that [Ingestion] makes.
	IngestionName = "content_ingestion"

	// batchFiles and batchBytes bound what is read before it is written, in one
	// transaction.
	batchFiles = 100
	batchBytes = 8 << 20
)

// Ingestion is the job content_ingestion. It reads the Markdown files of the sources in
// the program's [Config] and writes them to markdown_content: a file whose slug is new is
// inserted; one whose content differs from its row is updated if the source overrides.
//
// A file that cannot be read, or breaks a rule, fails by itself, and the run goes on. A
// folder that cannot be read lets the run fail, after all others were read. The row of a
// file that is gone stays.
//
// It works in batches of files. A run that was broken off goes on behind the last file that
// was committed.
func Ingestion() jobs.BatchJob { return ingestion{} }

type ingestion struct {
	// readFunc is for tests: see reader.
	readFunc func(name string)
}

var _ jobs.BatchJob = ingestion{}

func (ingestion) Definition() jobs.Definition {
	return jobs.Definition{
		Name:        IngestionName,
		Description: "brings Markdown files into markdown_content",
		Schedule:    "0 * * * *",
		Needs:       []jobs.Need{jobs.Needs[Config]("its sources of content")},
		Parameters: []jobs.Parameter{
			{Name: "sources", Description: "the sources to read; none means all that are enabled", Type: jobs.TypeStrings, Default: []string{}},
		},
	}
}

func (j ingestion) Start(ctx context.Context, run *jobs.Run) (jobs.Batches, error) {
	config, err := jobs.App[Config](run)
	if err != nil {
		return nil, jobs.Permanent(err)
	}
	if err := config.Check(); err != nil {
		return nil, jobs.Permanent(fmt.Errorf("the blog's configuration: %w", err))
	}
	sources, err := chosen(config.Sources, run.Parameters.Strings("sources"))
	if err != nil {
		return nil, jobs.Permanent(err)
	}
	r := &ingesting{run: run, readFunc: j.readFunc, claims: map[string]claim{}, cursor: position{Tallies: map[string]*tally{}}}
	if run.Cursor != nil {
		if err := json.Unmarshal(run.Cursor, &r.cursor); err != nil {
			return nil, jobs.Permanent(fmt.Errorf("read the run's cursor: %w", err))
		}
	}
	for _, source := range sources {
		listed, err := r.list(ctx, source)
		if err != nil {
			return nil, err
		}
		r.sources = append(r.sources, listed)
	}
	return r, r.resume(ctx)
}

// chosen are the sources that a run is to read.
func chosen(sources []Source, names []string) ([]Source, error) {
	var list []Source
	known := make([]string, 0, len(sources))
	for _, source := range sources {
		known = append(known, source.Name)
		if source.isEnabled() && (len(names) == 0 || slices.Contains(names, source.Name)) {
			list = append(list, source)
		}
	}
	for _, name := range names {
		i := slices.Index(known, name)
		switch {
		case i < 0:
			return nil, &jobs.ParameterError{Job: IngestionName, Parameter: "sources", Reason: fmt.Sprintf("there is no source %q; there are: %s", name, strings.Join(known, ", "))}
		case !sources[i].isEnabled():
			return nil, &jobs.ParameterError{Job: IngestionName, Parameter: "sources", Reason: fmt.Sprintf("the source %q is disabled; set enabled: true", name)}
		}
	}
	if len(list) == 0 {
		return nil, errors.New("no source of content is configured and enabled; give the program some, or disable the job")
	}
	return list, nil
}

// ingesting is an attempt.
type ingesting struct {
	run      *jobs.Run
	readFunc func(name string)
	sources  []listedSource
	// claims are the slugs that files of this run have, across batches.
	claims map[string]claim
	cursor position
	// at is the source that is being read, and next its batch.
	at        int
	next      []file
	statement string
}

// listedSource is a source and its files that are yet to be read.
type listedSource struct {
	Source
	files []found
	total int
	// problem says why its folder cannot be read.
	problem error
}

// position is the run's cursor.
type position struct {
	// Source is the one that was read last, and Path its last file; bytes, since a name
	// need not be text.
	Source string `json:"source"`
	Path   []byte `json:"path"`
	// Tallies are the outcomes, by source.
	Tallies map[string]*tally `json:"tallies"`
	// Unread are the sources whose folder could not be read, with the reason.
	Unread map[string]string `json:"unread,omitempty"`
}

type claim struct{ source, path string }

// file is a file that was read.
type file struct {
	path string
	doc  *document
	err  error
}

// list lists the files of a source. That its folder cannot be read is the source's problem,
// and not an error.
func (r *ingesting) list(ctx context.Context, source Source) (listedSource, error) {
	files, problem := listFolder(ctx, source)
	if err := ctx.Err(); err != nil {
		return listedSource{}, err
	}
	return listedSource{Source: source, files: files, total: len(files), problem: problem}, nil
}

func listFolder(ctx context.Context, source Source) ([]found, error) {
	root, err := os.OpenRoot(source.Path)
	if err != nil {
		return nil, fmt.Errorf("the folder %s cannot be read: %w", source.Path, bare(err))
	}
	defer root.Close() //nolint:errcheck // it was only read
	files, err := list(ctx, root, source.Recursive)
	if err != nil {
		return nil, fmt.Errorf("the folder %s cannot be read: %w", source.Path, err)
	}
	return files, nil
}

// resume leaves out what an earlier attempt has committed. The slugs of those files are
// read again: they are taken.
func (r *ingesting) resume(ctx context.Context) error {
	last := slices.IndexFunc(r.sources, func(s listedSource) bool { return s.Name == r.cursor.Source })
	if last < 0 {
		return nil
	}
	for i := range last + 1 {
		source := &r.sources[i]
		done := len(source.files)
		if i == last {
			done, _ = slices.BinarySearchFunc(source.files, string(r.cursor.Path), func(f found, path string) int {
				return strings.Compare(f.path, path)
			})
			if done < len(source.files) && source.files[done].path == string(r.cursor.Path) {
				done++
			}
		}
		r.at = i
		for earlier := source.files[:done]; len(earlier) > 0; {
			files, n, err := r.read(ctx, source.Source, earlier[:min(len(earlier), batchFiles)])
			if err != nil {
				return err
			}
			if err := r.reclaim(ctx, source.Source, files); err != nil {
				return err
			}
			earlier = earlier[n:]
		}
		source.files = source.files[done:]
	}
	return nil
}

func (r *ingesting) reclaim(ctx context.Context, source Source, files []file) error {
	return pgx.BeginFunc(ctx, r.run.Beginner, func(tx pgx.Tx) error {
		rows, err := existing(ctx, tx, slugsOf(files))
		if err != nil {
			return err
		}
		for _, f := range files {
			if f.doc != nil {
				_ = r.claim(source, f, rows)
			}
		}
		return nil
	})
}

// Prepare reads the next files, outside of any transaction.
func (r *ingesting) Prepare(ctx context.Context) error {
	for r.at < len(r.sources)-1 && r.finished(r.sources[r.at]) {
		r.at++
	}
	source := &r.sources[r.at]
	r.next = nil
	if len(source.files) == 0 {
		return nil
	}
	var err error
	var n int
	r.next, n, err = r.read(ctx, source.Source, source.files[:min(len(source.files), batchFiles)])
	source.files = source.files[n:]
	return err
}

// finished says whether nothing is left to do with a source, nor to be noted of it.
func (r *ingesting) finished(s listedSource) bool {
	return len(s.files) == 0 && r.cursor.Tallies[s.Name] != nil
}

// read reads files, until there are enough bytes, and says how many it has read.
func (r *ingesting) read(ctx context.Context, source Source, list []found) ([]file, int, error) {
	root, err := os.OpenRoot(source.Path)
	if err != nil {
		return nil, 0, fmt.Errorf("source %q: %w", source.Name, err)
	}
	defer root.Close() //nolint:errcheck // it was only read
	reader := reader{root: root, max: fileMax, readFunc: r.readFunc}
	files := make([]file, 0, len(list))
	bytes := 0
	for _, f := range list {
		if err := ctx.Err(); err != nil {
			return nil, 0, err
		}
		if bytes >= batchBytes {
			break
		}
		next := file{path: f.path, err: f.problem}
		if next.err == nil {
			var content []byte
			content, next.err = reader.read(f.path)
			if next.err == nil {
				next.doc, next.err = parse(content, source.kinds())
			}
			bytes += len(content)
		}
		files = append(files, next)
	}
	return files, len(files), nil
}

// Next writes what Prepare has read.
func (r *ingesting) Next(ctx context.Context, batch *jobs.Batch) (bool, error) {
	source := r.sources[r.at]
	if r.finished(source) && len(r.next) == 0 {
		return true, r.unread() // all was committed by an attempt that could not say so any more
	}
	tally := r.cursor.Tallies[source.Name].clone()
	var rows int64
	if source.problem != nil {
		if r.cursor.Unread == nil {
			r.cursor.Unread = map[string]string{}
		}
		r.cursor.Unread[source.Name] = reason(source.problem)
		r.run.Logger.ErrorContext(ctx, "a source of content cannot be read", slog.String("source", source.Name), slog.String("error", reason(source.problem)))
	}
	outcomes, err := r.write(ctx, batch.Tx, source.Source)
	if err != nil {
		return false, err
	}
	for i, f := range r.next {
		tally.add(batch.Targets, source.Name, f, outcomes[i])
		switch outcomes[i] {
		case inserted, updated:
			rows++
		case failed:
			r.run.Logger.WarnContext(ctx, "a file was not taken", slog.String("source", source.Name), slog.String("file", shown(f.path)), slog.String("error", reason(f.err)))
		case unchanged, kept:
		}
		r.cursor.Path = []byte(f.path)
	}
	r.cursor.Source = source.Name
	r.cursor.Tallies[source.Name] = tally
	note := tally.note()
	if source.problem != nil {
		note = "not read: " + reason(source.problem)
	}
	batch.Targets[source.Name] = jobs.Target{Rows: rows, Batches: min(rows, 1), Note: note}
	batch.Cursor = r.cursor
	batch.Message = r.message()
	if len(source.files) > 0 || r.at < len(r.sources)-1 {
		return false, nil
	}
	return len(r.cursor.Unread) == 0, nil
}

// unread is the error of a run that has read all that it could.
func (r *ingesting) unread() error {
	if len(r.cursor.Unread) == 0 {
		return nil
	}
	var errs []error
	for _, source := range r.sources {
		if why, ok := r.cursor.Unread[source.Name]; ok {
			errs = append(errs, fmt.Errorf("source %q: %s", source.Name, why))
		}
	}
	return jobs.Permanent(fmt.Errorf("the other sources were read, but: %w", errors.Join(errs...)))
}

func (r *ingesting) message() string {
	var files, all, bad int64
	for _, source := range r.sources {
		all += int64(source.total)
		if tally := r.cursor.Tallies[source.Name]; tally != nil {
			files += tally.files()
			bad += tally.Outcomes[failed]
		}
	}
	return fmt.Sprintf("%d of %d files, %d failed", files, max(all, files), bad)
}

// claim says why a file cannot have its slug; nil if it can, and has it from now on.
func (r *ingesting) claim(source Source, f file, rows map[string]row) error {
	slug := f.doc.slug
	if row, exists := rows[slug]; exists && row.sourceID != source.SourceID {
		return fmt.Errorf("the slug %q belongs to the source_id %q; choose another", abridged(slug), abridged(row.sourceID))
	}
	if other, taken := r.claims[slug]; taken {
		return fmt.Errorf("the slug %q is taken by %s of the source %q; choose another", abridged(slug), shown(other.path), other.source)
	}
	r.claims[slug] = claim{source.Name, f.path}
	return nil
}

// write decides about the files that were read and writes what is to be written.
func (r *ingesting) write(ctx context.Context, tx pgx.Tx, source Source) ([]outcome, error) {
	rows, err := existing(ctx, tx, slugsOf(r.next))
	if err != nil {
		return nil, err
	}
	outcomes := make([]outcome, len(r.next))
	var changed []int
	for i := range r.next {
		f := &r.next[i]
		if f.err == nil {
			f.err = r.claim(source, *f, rows)
		}
		if f.err != nil {
			outcomes[i] = failed
			continue
		}
		row, exists := rows[f.doc.slug]
		switch {
		case exists && row.hash == f.doc.hash:
			outcomes[i] = unchanged
		case exists && !source.OverrideExisting:
			outcomes[i] = kept
		case exists:
			outcomes[i] = updated
			changed = append(changed, i)
		default:
			outcomes[i] = inserted
			changed = append(changed, i)
		}
	}
	return outcomes, r.writeChanged(ctx, tx, source, changed, outcomes)
}

// writeChanged writes all at once, and if one of them is refused, one by one.
func (r *ingesting) writeChanged(ctx context.Context, tx pgx.Tx, source Source, changed []int, outcomes []outcome) error {
	if len(changed) == 0 {
		return nil
	}
	if r.statement == "" {
		var err error
		if r.statement, err = writeStatement(ctx, tx); err != nil {
			return err
		}
	}
	docs := make([]*document, 0, len(changed))
	for _, i := range changed {
		docs = append(docs, r.next[i].doc)
	}
	var written map[string]bool
	err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) (err error) {
		written, err = write(ctx, tx, r.statement, source, docs)
		return err
	})
	if refused(err) && len(changed) > 1 {
		for _, i := range changed {
			if err := r.writeChanged(ctx, tx, source, []int{i}, outcomes); err != nil {
				return err
			}
		}
		return nil
	}
	for _, i := range changed {
		switch {
		case refused(err):
			outcomes[i], r.next[i].err = failed, fmt.Errorf("the table refuses it: %w", err)
		case err != nil:
			return tableError(err)
		case !written[r.next[i].doc.slug]:
			outcomes[i], r.next[i].err = failed, errors.New("its row was written by somebody else meanwhile; the next run looks again")
		}
	}
	return nil
}

func slugsOf(files []file) []string {
	slugs := make([]string, 0, len(files))
	for _, f := range files {
		if f.doc != nil {
			slugs = append(slugs, f.doc.slug)
		}
	}
	return slugs
}
