// Package blog is a domain module, as anybody may write one: importing it registers the
// job content_ingestion, which brings Markdown files into the table markdown_content, and
// the job image_optimization, which makes smaller files of the images that the table
// names. The table belongs to the application; the package never creates or alters it. Where
// it has a row for each locale of a slug, files are those of the locale "en".
//
// What the jobs read is decided by the program, in a [Config] that it provides for them
// (see jobs.Provide), and not by a parameter: whoever may start a run, in SQL for one,
// could name any folder of the machine otherwise.
//
//	cli.Main(cli.Program{App: jobs.Provide(config)})
package blog

import "github.com/systempromptio/scheduler/jobs"

func init() {
	jobs.Register(Ingestion(), Optimization())
}
