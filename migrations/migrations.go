// Package migrations embeds the scheduler's golang-migrate files. They run with
// search_path set to the scheduler's schema, after River's own migrations have
// run there.
package migrations

import (
	"embed"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// FS holds the files, named VERSION_NAME.up.sql and VERSION_NAME.down.sql.
//
//go:embed *.sql
var FS embed.FS

// Latest is the newest version in [FS]: the one that this build works with.
func Latest() (uint, error) {
	names, err := fs.Glob(FS, "*.up.sql")
	if err != nil {
		return 0, fmt.Errorf("list migrations: %w", err)
	}
	var latest uint64
	for _, name := range names {
		version, _, _ := strings.Cut(name, "_")
		n, err := strconv.ParseUint(version, 10, 32)
		if err != nil {
			return 0, fmt.Errorf("migration %q has no version: %w", name, err)
		}
		latest = max(latest, n)
	}
	return uint(latest), nil
}
