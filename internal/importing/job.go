package importing

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Job is a schedule of another program, on its way into a configuration.
type Job struct {
	// Name is what the job is to be called; [Write] makes a name of it that a job can
	// have, and that no other has.
	Name string
	// Source says what it was, such as "line 12".
	Source string
	// Description is for people. Optional.
	Description string
	// Schedule is cron text as it is written here, TimeZone an IANA name; empty means UTC.
	Schedule string
	TimeZone string
	// Disabled: the job was off.
	Disabled bool
	// Overlap is the policy that is nearest to what the other program does; empty means
	// the default.
	Overlap string
	// SQL are the statements of the job, or Command is the program that it runs, with its
	// arguments, and Environ its environment.
	SQL     []string
	Command []string
	Environ []Variable
	// Notes say what has no equal here.
	Notes []string
	// Refused says why it cannot be a job here; empty if it can.
	Refused string
}

// Variable is one of an environment.
type Variable struct{ Name, Value string }

// notef adds a note.
func (j *Job) notef(format string, args ...any) {
	j.Notes = append(j.Notes, fmt.Sprintf(format, args...))
}

// refusef says that it cannot be a job; the first reason counts.
func (j *Job) refusef(format string, args ...any) {
	if j.Refused == "" {
		j.Refused = fmt.Sprintf(format, args...)
	}
}

// texts are all that is taken over as it is.
func (j *Job) texts() []string {
	texts := append([]string{j.Name, j.Description, j.Schedule, j.TimeZone}, j.SQL...)
	texts = append(texts, j.Command...)
	for _, variable := range j.Environ {
		texts = append(texts, variable.Name, variable.Value)
	}
	return texts
}

// clean refuses what no file of text can hold, and makes it something that one can.
func (j *Job) clean() {
	for _, text := range j.texts() {
		switch {
		case !utf8.ValidString(text):
			j.refusef("it is not text in UTF-8; what is not is shown as \uFFFD")
		case strings.ContainsRune(text, 0):
			j.refusef("it holds a NUL character")
		}
	}
	valid := func(text *string) { *text = strings.ToValidUTF8(*text, "\uFFFD") }
	for _, text := range []*string{&j.Name, &j.Source, &j.Description, &j.Schedule, &j.TimeZone} {
		valid(text)
	}
	for i := range j.SQL {
		valid(&j.SQL[i])
	}
	for i := range j.Command {
		valid(&j.Command[i])
	}
	for i := range j.Environ {
		valid(&j.Environ[i].Name)
		valid(&j.Environ[i].Value)
	}
}

// nameMax is how long a name may be.
const nameMax = 100

// names gives each job a name of its own.
type names struct{ taken map[string]bool }

func newNames(taken []string) *names {
	n := &names{taken: make(map[string]bool)}
	for _, name := range taken {
		n.taken[name] = true
	}
	return n
}

// of makes a name that a job can have: lower-case letters, digits and underscores.
func (n *names) of(text string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(text) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "_"):
			b.WriteByte('_')
		}
		if b.Len() >= nameMax {
			break
		}
	}
	name := strings.Trim(b.String(), "_")
	if name == "" || unicode.IsDigit(rune(name[0])) {
		name = strings.TrimSuffix("job_"+name, "_")
	}
	unique := name[:min(len(name), nameMax)]
	for i := 2; n.taken[unique]; i++ {
		suffix := fmt.Sprintf("_%d", i)
		unique = name[:min(len(name), nameMax-len(suffix))] + suffix
	}
	n.taken[unique] = true
	return unique
}

// isPrintable says whether a character is one that a comment can hold.
func isPrintable(r rune) bool { return r != utf8.RuneError && r != '\uFEFF' && unicode.IsPrint(r) }
