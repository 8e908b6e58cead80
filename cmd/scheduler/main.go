// Command scheduler runs the scheduler with its built-in jobs, and reads and steers
// a running fleet. docs/reference/cli.md lists its commands.
package main

import (
	"github.com/systempromptio/scheduler/cmd/scheduler/cli"
	_ "github.com/systempromptio/scheduler/jobs/cleanup"
)

//go:generate go run . reference ../../docs/reference

// version is set by the build: -ldflags '-X main.version=v1.2.3'.
var version string

func main() { cli.Main(cli.Program{Version: version}) }
