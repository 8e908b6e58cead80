package blog

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/systempromptio/scheduler/jobs"
)

var (
	//go:embed sql/existing.sql
	existingSQL string
	//go:embed sql/columns.sql
	columnsSQL string
	//go:embed sql/write.sql
	writeSQL string
)

// row is what the table has under a slug.
type row struct{ slug, sourceID, hash string }

// existing reads what the table has under some slugs.
func existing(ctx context.Context, tx pgx.Tx, slugs []string) (map[string]row, error) {
	if len(slugs) == 0 {
		return nil, nil
	}
	rows, err := collect(ctx, tx, func(r pgx.CollectableRow) (row row, err error) {
		return row, r.Scan(&row.slug, &row.sourceID, &row.hash)
	}, existingSQL, pgx.NamedArgs{"slugs": slugs})
	if err != nil {
		return nil, fmt.Errorf("read markdown_content: %w", tableError(err))
	}
	found := make(map[string]row, len(rows))
	for _, row := range rows {
		found[row.slug] = row
	}
	return found, nil
}

func collect[T any](ctx context.Context, tx pgx.Tx, scan pgx.RowToFunc[T], statement string, args ...any) ([]T, error) {
	rows, err := tx.Query(ctx, statement, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scan)
}

// tableError says how to mend what is missing. Another attempt would not find it, either.
func tableError(err error) error {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return err
	}
	switch pgErr.Code {
	case "42P01", "42703", "42501": // no table, no column, no privilege
		return jobs.Permanent(fmt.Errorf("%w; the table is the application's: migrate it, put its schema into the search_path, grant SELECT, INSERT and UPDATE on it, or disable the job", err))
	case "42P10": // nothing for ON CONFLICT
		return jobs.Permanent(fmt.Errorf("%w; slug must be unique, by itself or with locale: make the application's unique index again, or disable the job", err))
	}
	return err
}

// column is one that not every install has.
type column struct {
	Name, Type string
	// IsUnique: no two rows have the same value.
	IsUnique bool
}

// columnText is what is written into a column: the value of a new row, if any, and what becomes
// of an existing one.
type columnText struct{ value, update string }

// text says what is written into a column; nothing, if it is of a type that is not known
// here.
func (c column) text() columnText {
	return map[string]columnText{
		"category_id text":              {"nullif(f.category, '')", "category_id = excluded.category_id"},
		"category_id character varying": {"nullif(f.category, '')", "category_id = excluded.category_id"},
		"links jsonb":                   {"f.links::jsonb", "links = excluded.links"},
		"links json":                    {"f.links::json", "links = excluded.links"},
		"locale text":                   {value: "'en'"},
		"locale character varying":      {value: "'en'"},
		// An image that the file names anew has not been optimized yet.
		"image_optimization_status text": {update: "image_optimization_status = CASE WHEN m.image IS NOT DISTINCT FROM excluded.image THEN m.image_optimization_status END"},
	}[c.Name+" "+c.Type]
}

// writeStatement is the statement that writes, with the columns that this install has. A
// row is unique by its slug, or on newer installs by its slug and locale.
func writeStatement(ctx context.Context, tx pgx.Tx) (string, error) {
	found, err := collect(ctx, tx, pgx.RowToStructByPos[column], columnsSQL)
	if err != nil {
		return "", fmt.Errorf("look for the columns of markdown_content: %w", err)
	}
	var columns, values, updates strings.Builder
	var hasUniqueSlug, hasLocale bool
	for _, c := range found {
		hasUniqueSlug = hasUniqueSlug || c.Name == "slug" && c.IsUnique
		hasLocale = hasLocale || c.Name == "locale"
		w := c.text()
		if w.value != "" {
			columns.WriteString(", " + c.Name)
			values.WriteString(", " + w.value)
		}
		if w.update != "" {
			updates.WriteString(", " + w.update)
		}
	}
	key := "slug"
	if hasLocale && !hasUniqueSlug {
		key = "slug, locale"
	}
	return strings.NewReplacer("{columns}", columns.String(), "{values}", values.String(), "{updates}", updates.String(), "{key}", key).Replace(writeSQL), nil
}

// write writes documents of one source and returns the slugs that it has written.
func write(ctx context.Context, tx pgx.Tx, statement string, source Source, docs []*document) (map[string]bool, error) {
	var slugs, titles, descriptions, bodies, authors, words, kinds, images, hashes, categories, links []string
	var published []time.Time
	for _, doc := range docs {
		encoded := []byte("[]")
		if len(doc.links) > 0 {
			var err error
			if encoded, err = json.Marshal(doc.links); err != nil {
				return nil, fmt.Errorf("encode the links of %q: %w", doc.slug, err)
			}
		}
		category := doc.category
		if category == "" {
			category = source.CategoryID
		}
		slugs, titles, descriptions = append(slugs, doc.slug), append(titles, doc.title), append(descriptions, doc.description)
		bodies, authors, words = append(bodies, doc.body), append(authors, doc.author), append(words, doc.keywords)
		kinds, images, hashes = append(kinds, doc.kind), append(images, doc.image), append(hashes, doc.hash)
		categories, links, published = append(categories, category), append(links, string(encoded)), append(published, doc.published)
	}
	list, err := collect(ctx, tx, pgx.RowTo[string], statement, pgx.NamedArgs{
		"slugs": slugs, "titles": titles, "descriptions": descriptions, "bodies": bodies, "authors": authors, "published": published,
		"keywords": words, "kinds": kinds, "images": images, "hashes": hashes, "categories": categories, "links": links,
		"source_id": source.SourceID, "override": source.OverrideExisting,
	})
	if err != nil {
		return nil, fmt.Errorf("write markdown_content: %w", err)
	}
	written := make(map[string]bool, len(list))
	for _, slug := range list {
		written[slug] = true
	}
	return written, nil
}

// refused says whether an error is about the rows that were to be written, and not about
// the database: a constraint, a trigger or a limit of this install. The others may pass.
func refused(err error) bool {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return false
	}
	switch pgErr.Code[:2] {
	case "22", "23", "54", "P0":
		return true
	}
	return false
}
