package schedulertest

import (
	"errors"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// bufferedRows are rows that have been read to their end: the connection, of which a
// test has only one, is free for the next statement while the job goes through them.
type bufferedRows struct {
	conn    *pgx.Conn
	typeMap *pgtype.Map
	fields  []pgconn.FieldDescription
	raw     [][][]byte
	tag     pgconn.CommandTag
	err     error
	// at is the number of the row before which the reader is.
	at     int
	closed bool
}

var _ pgx.Rows = (*bufferedRows)(nil)

// buffer reads rows to their end.
func buffer(rows pgx.Rows) *bufferedRows {
	defer rows.Close()
	b := &bufferedRows{conn: rows.Conn(), typeMap: rows.TypeMap()}
	for rows.Next() {
		row := make([][]byte, 0, len(rows.RawValues()))
		for _, value := range rows.RawValues() {
			row = append(row, slices.Clone(value))
		}
		b.raw = append(b.raw, row)
	}
	b.fields = slices.Clone(rows.FieldDescriptions())
	rows.Close()
	b.tag, b.err = rows.CommandTag(), rows.Err()
	return b
}

func (b *bufferedRows) Close() { b.closed = true }

func (b *bufferedRows) Err() error { return b.err }

func (b *bufferedRows) CommandTag() pgconn.CommandTag { return b.tag }

func (b *bufferedRows) FieldDescriptions() []pgconn.FieldDescription { return b.fields }

func (b *bufferedRows) Next() bool {
	if b.closed || b.at == len(b.raw) {
		b.closed = true
		return false
	}
	b.at++
	return true
}

func (b *bufferedRows) Scan(dest ...any) error {
	if len(dest) == 1 {
		if scanner, ok := dest[0].(pgx.RowScanner); ok {
			return b.fail(scanner.ScanRow(b))
		}
	}
	if b.at == 0 {
		return b.fail(errors.New("Scan was called before Next"))
	}
	return b.fail(pgx.ScanRow(b.typeMap, b.fields, b.raw[b.at-1], dest...))
}

// fail keeps an error, as pgx's own rows do.
func (b *bufferedRows) fail(err error) error {
	if err != nil && b.err == nil {
		b.err, b.closed = err, true
	}
	return err
}

func (b *bufferedRows) Values() ([]any, error) {
	values := make([]any, len(b.fields))
	dest := make([]any, len(b.fields))
	for i := range values {
		dest[i] = &values[i]
	}
	if err := b.Scan(dest...); err != nil {
		return nil, err
	}
	return values, nil
}

func (b *bufferedRows) RawValues() [][]byte {
	if b.at == 0 {
		return nil
	}
	return b.raw[b.at-1]
}

func (b *bufferedRows) Conn() *pgx.Conn { return b.conn }

func (b *bufferedRows) TypeMap() *pgtype.Map { return b.typeMap }

// bufferedRow is the first of some rows.
type bufferedRow struct{ rows pgx.Rows }

func (r bufferedRow) Scan(dest ...any) error {
	defer r.rows.Close()
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return err
		}
		return pgx.ErrNoRows
	}
	if err := r.rows.Scan(dest...); err != nil {
		return err
	}
	return r.rows.Err()
}
