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
type row struct{ sourceID, hash string }

// existing reads what the table has under some slugs.
func existing(ctx context.Context, tx pgx.Tx, slugs []string) (map[string]row, error) {
	if len(slugs) == 0 {
		return nil, nil
	}
	rows, err := tx.Query(ctx, existingSQL, pgx.NamedArgs{"slugs": slugs})
	if err != nil {
		return nil, fmt.Errorf("read markdown_content: %w", tableError(err))
	}
	found := make(map[string]row, len(slugs))
	var slug string
	var r row
	_, err = pgx.ForEachRow(rows, []any{&slug, &r.sourceID, &r.hash}, func() error {
		found[slug] = r
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read markdown_content: %w", tableError(err))
	}
	return found, nil
}

// tableError says how to mend what is missing. Another attempt would not find it, either.
func tableError(err error) error {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	if ok && (pgErr.Code == "42P01" || pgErr.Code == "42703" || pgErr.Code == "42501") {
		return jobs.Permanent(fmt.Errorf("%w; the table is the application's: migrate it, put its schema into the search_path, grant SELECT, INSERT and UPDATE on it, or disable the job", err))
	}
	return err
}

// writeStatement is the statement that writes, with the columns that this install has.
func writeStatement(ctx context.Context, tx pgx.Tx) (string, error) {
	rows, err := tx.Query(ctx, columnsSQL)
	if err != nil {
		return "", fmt.Errorf("look for the columns of markdown_content: %w", err)
	}
	var columns, values, updates strings.Builder
	var name, typeName string
	_, err = pgx.ForEachRow(rows, []any{&name, &typeName}, func() error {
		value, known := map[string]string{
			"category_id text":              "nullif(f.category, '')",
			"category_id character varying": "nullif(f.category, '')",
			"links jsonb":                   "f.links::jsonb",
			"links json":                    "f.links::json",
		}[name+" "+typeName]
		if known {
			columns.WriteString(", " + name)
			values.WriteString(", " + value)
			updates.WriteString(", " + name + " = excluded." + name)
		}
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("look for the columns of markdown_content: %w", err)
	}
	return strings.NewReplacer("{columns}", columns.String(), "{values}", values.String(), "{updates}", updates.String()).Replace(writeSQL), nil
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
	rows, err := tx.Query(ctx, statement, pgx.NamedArgs{
		"slugs": slugs, "titles": titles, "descriptions": descriptions, "bodies": bodies, "authors": authors, "published": published,
		"keywords": words, "kinds": kinds, "images": images, "hashes": hashes, "categories": categories, "links": links,
		"source_id": source.SourceID, "override": source.OverrideExisting,
	})
	if err != nil {
		return nil, fmt.Errorf("write markdown_content: %w", err)
	}
	written := make(map[string]bool, len(docs))
	var slug string
	_, err = pgx.ForEachRow(rows, []any{&slug}, func() error { written[slug] = true; return nil })
	if err != nil {
		return nil, fmt.Errorf("write markdown_content: %w", err)
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
