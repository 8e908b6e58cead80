package migrations_test

import (
	"fmt"
	"io/fs"

	"github.com/systempromptio/scheduler/migrations"
)

// Each version has a file that leads up to it and one that leads back.
func Example() {
	latest, err := migrations.Latest()
	if err != nil {
		panic(err)
	}
	up, err := fs.Glob(migrations.FS, "*.up.sql")
	fmt.Println(len(up) == int(latest), err)
	down, err := fs.Glob(migrations.FS, "*.down.sql")
	fmt.Println(len(down) == int(latest), err)
	// Output:
	// true <nil>
	// true <nil>
}
