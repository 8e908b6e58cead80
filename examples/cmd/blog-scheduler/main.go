// Command blog-scheduler is a scheduler with the jobs of package blog beside the built-in
// ones. The file that BLOG_CONFIG names says where the content is.
package main

import (
	"fmt"
	"os"

	"github.com/systempromptio/scheduler/cmd/scheduler/cli"
	"github.com/systempromptio/scheduler/examples/blog"
	"github.com/systempromptio/scheduler/jobs"
	_ "github.com/systempromptio/scheduler/jobs/cleanup"
)

func main() {
	config, err := blog.Load(os.Getenv("BLOG_CONFIG"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	cli.Main(cli.Program{App: jobs.Provide(config)})
}
