package cron_test

import (
	"strings"
	"testing"
	"time"

	"github.com/systempromptio/scheduler/jobs/cron"
)

func TestLoadLocation(t *testing.T) {
	t.Parallel()
	for _, name := range zones {
		if loc := location(t, name); loc.String() != name {
			t.Errorf("%s: got %s", name, loc)
		}
	}
	if loc := location(t, ""); loc != time.UTC {
		t.Errorf("the empty name: got %s", loc)
	}
	for _, name := range []string{
		"Local", "local", "localtime", "posixrules", "right/Europe/Berlin", "posix/Europe/Berlin",
		"CEST", "Berlin", "Europe/Atlantis", "../../etc/passwd", "/etc/localtime", "Europe/Berlin\x00", " ",
		strings.Repeat("x", 10_000),
	} {
		loc, err := cron.LoadLocation(name)
		if err == nil || loc != nil || !strings.Contains(err.Error(), "use an IANA name such as Europe/Berlin") {
			t.Errorf("%.40q: got %v, %v", name, loc, err)
		}
	}
}
