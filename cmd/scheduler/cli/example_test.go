package cli_test

import (
	"github.com/systempromptio/scheduler/cmd/scheduler/cli"
	_ "github.com/systempromptio/scheduler/jobs/cleanup" // and modules of yours
)

// A program of your own: the whole command line, with the jobs of what it imports. The
// folder examples has one that is built and run.
func ExampleMain() {
	cli.Main(cli.Program{Version: "v1.2.3"})
}
