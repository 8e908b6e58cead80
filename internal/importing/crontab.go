package importing

import (
	"bytes"
	"fmt"
	"path"
	"regexp"
	"strings"
	"unicode"
)

// shellDefault and pathDefault are what cron uses where the crontab says nothing.
const (
	shellDefault = "/bin/sh"
	pathDefault  = "/usr/bin:/bin"
)

const rebootHint = "it has no times: it runs once when the machine starts; give it a schedule, and its name in bootstrap_jobs to have it run once when a fleet starts, too"

func isReboot(schedule string) bool {
	return strings.EqualFold(schedule, "@reboot") || strings.EqualFold(schedule, "@restart")
}

// crontab is a crontab while it is read.
type crontab struct {
	system bool
	jobs   []Job
	notes  []string

	// environ is what the lines so far have set, in their order.
	environ  []Variable
	timeZone string
	// comments are the lines right above.
	comments []string
}

// Crontab reads a crontab. In the system's own, as in /etc/crontab and /etc/cron.d, each
// line has a user before its command. notes are about all of it.
// timeZone is the one that cron runs in, where CRON_TZ says no other.
func Crontab(content []byte, system bool, timeZone string) (jobs []Job, notes []string) {
	c := &crontab{system: system, timeZone: timeZone}
	content = bytes.TrimPrefix(content, []byte("\uFEFF"))
	if bytes.Contains(content, []byte("\r\n")) {
		content = bytes.ReplaceAll(content, []byte("\r\n"), []byte("\n"))
		c.notes = append(c.notes, "The lines ended as on Windows; cron takes the carriage return for a part of the command. It is left out.")
	}
	n := 0
	for line := range strings.Lines(string(content)) {
		n++
		c.line(n, strings.TrimSuffix(line, "\n"))
	}
	return c.jobs, c.notes
}

// variableRE is a line that sets a variable. Its name may be between quotes.
var variableRE = regexp.MustCompile(`^[ \t]*("[^"=]+"|'[^'=]+'|[^\s"'=#]+)[ \t]*=[ \t]*(.*?)[ \t]*$`)

func (c *crontab) line(n int, line string) {
	trimmed := strings.TrimLeft(line, " \t")
	switch m := variableRE.FindStringSubmatch(line); {
	case trimmed == "":
		c.comments = nil
	case trimmed[0] == '#':
		c.comments = append(c.comments, strings.TrimSpace(strings.TrimLeft(trimmed, "#")))
	case m != nil:
		c.set(n, unquoted(m[1]), unquoted(m[2]))
		c.comments = nil
	default:
		c.job(n, trimmed)
		c.comments = nil
	}
}

func unquoted(text string) string {
	if len(text) >= 2 && (text[0] == '"' || text[0] == '\'') && text[len(text)-1] == text[0] {
		return text[1 : len(text)-1]
	}
	return text
}

// set takes a variable, which counts for the lines below it.
func (c *crontab) set(n int, name, value string) {
	switch name {
	case "CRON_TZ":
		c.timeZone = value
		return
	case "MAILTO", "MAILFROM", "MAIL_TO", "CONTENT_TYPE", "CONTENT_TRANSFER_ENCODING":
		if name == "MAILTO" {
			c.notes = append(c.notes, fmt.Sprintf("Line %d: MAILTO=%s. Output is not sent by mail here: it is in the run's log, and failures are for alerts.", n, value))
		}
		return
	case "RANDOM_DELAY", "START_HOURS_RANGE", "PERIOD_NAME", "BATCH":
		c.notes = append(c.notes, fmt.Sprintf("Line %d: %s=%s has no equal; H in a field of the schedule spreads jobs.", n, name, value))
		return
	}
	if strings.Contains(value, "$") {
		c.notes = append(c.notes, fmt.Sprintf("Line %d: %s=%s. cron does not put variables into it, and neither is it done here.", n, name, value))
	}
	for i := range c.environ {
		if c.environ[i].Name == name {
			c.environ[i].Value = value
			return
		}
	}
	c.environ = append(c.environ, Variable{Name: name, Value: value})
}

// next cuts the first word off.
func next(text string) (word, rest string) {
	i := strings.IndexAny(text, " \t")
	if i < 0 {
		return text, ""
	}
	return text[:i], strings.TrimLeft(text[i:], " \t")
}

// job reads a line that is to run something.
func (c *crontab) job(n int, line string) {
	job := Job{Source: fmt.Sprintf("line %d", n), TimeZone: c.timeZone}
	job.Description, job.Notes = c.described()
	var fields []string
	rest := line
	for len(fields) < 5 && rest != "" {
		var word string
		word, rest = next(rest)
		fields = append(fields, word)
		if len(fields) == 1 && word[0] == '@' {
			break
		}
	}
	job.Schedule = strings.Join(fields, " ")
	switch {
	case isReboot(job.Schedule):
		job.refusef("%s", rebootHint)
	case fields[0][0] == '@':
	case len(fields) < 5 || rest == "":
		job.refusef("the line has less than five fields and a command")
	default:
		checkFields(&job, fields, false)
	}
	if c.system && rest != "" {
		var user string
		user, rest = next(rest)
		job.notef("it ran as user %q; here it runs as the user of the replicas", user)
	}
	if rest == "" {
		job.refusef("the line has no command")
	}
	c.command(&job, rest)
	if job.Name = commandName(rest); job.Name == "" {
		job.Name = fmt.Sprintf("line_%d", n)
	}
	c.jobs = append(c.jobs, job)
}

// descriptionMax is how much of the comments above a line describes its job.
const descriptionMax = 500

// described makes a description of the comments right above a line, but for those that are
// lines that were taken out.
func (c *crontab) described() (description string, notes []string) {
	var parts []string
	for _, comment := range c.comments {
		fields := strings.Fields(comment)
		isLine := len(fields) > 5
		for i := 0; isLine && i < 5; i++ {
			isLine = !strings.ContainsFunc(fields[i], func(r rune) bool { return !strings.ContainsRune("0123456789*,/-", r) })
		}
		switch {
		case isLine:
			notes = append(notes, "a line above it was taken out, and is not imported: "+comment)
		case comment != "":
			parts = append(parts, comment)
		}
	}
	description = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.Join(parts, " "))
	if runes := []rune(description); len(runes) > descriptionMax {
		description = string(runes[:descriptionMax-1]) + "…"
	}
	return description, notes
}

// command makes the command of a line: its shell with the text. What follows the first
// percent sign is standard input, in which another one ends a line; one behind a backslash
// is itself.
func (c *crontab) command(job *Job, text string) {
	shell, hasPath := shellDefault, false
	for _, variable := range c.environ {
		switch variable.Name {
		case "SHELL":
			shell = variable.Value
		case "PATH":
			hasPath = true
		}
	}
	if !hasPath {
		job.Environ = append(job.Environ, Variable{Name: "PATH", Value: pathDefault})
	}
	job.Environ = append(job.Environ, c.environ...)
	var parts []string
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\\' && i+1 < len(text) && text[i+1] == '%':
			b.WriteByte('%')
			i++
		case text[i] == '%':
			parts = append(parts, b.String())
			b.Reset()
		default:
			b.WriteByte(text[i])
		}
	}
	parts = append(parts, b.String())
	command := strings.TrimRight(parts[0], " \t")
	stdin := strings.Join(parts[1:], "\n")
	if stdin == "" {
		job.Command = []string{shell, "-c", command}
		return
	}
	job.notef("it has standard input, which a command has not here: a shell hands it the text")
	job.Command = []string{shellDefault, "-c", `printf '%s\n' "$1" | "$2" -c "$3"`, "sh", stdin, shell, command}
}

// wordRE is a word of a command that may name it.
var wordRE = regexp.MustCompile(`^[A-Za-z0-9_./+-]+$`)

// commandName is what a command is called by: its first program that says anything, without
// its folder and ending.
func commandName(command string) string {
	skip := false
	for _, word := range strings.FieldsFunc(command, func(r rune) bool { return strings.ContainsRune(" \t;&|()", r) }) {
		if skip {
			skip = false
			continue
		}
		name := path.Base(word)
		switch name = strings.TrimSuffix(name, path.Ext(name)); {
		case !wordRE.MatchString(word) || strings.HasPrefix(word, "-") || strings.HasSuffix(word, "/"):
		case strings.Trim(name, "./0123456789") == "":
		case name == "cd":
			skip = true
		case name == "sh" || name == "bash" || name == "env" || name == "nice" || name == "ionice" || name == "sudo" || name == "test" || name == "exec" || name == "nohup" || name == "flock" || name == "timeout":
		default:
			return name
		}
	}
	return ""
}
