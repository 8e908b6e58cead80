package integration

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	cdpfetch "github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/integration/testdb"
)

// unfold opens a part of a job's page, as somebody does who clicks on it.
func (p *tab) unfold(id string) {
	p.Helper()
	if !look[bool](p, fmt.Sprintf("document.getElementById(%q).open", id)) {
		p.do(chromedp.Click(chromedp.CSS("#"+id+" > summary"), chromedp.NodeVisible))
	}
}

// fillIn unfolds a part of a job's page and types into a field of it.
func (p *tab) fillIn(id, selector, text string) {
	p.Helper()
	p.unfold(id)
	p.fill(selector, text)
}

// send presses a button of a part of a job's page.
func (p *tab) send(id, button string) {
	p.Helper()
	p.unfold(id)
	p.press("#" + id + " " + button)
}

// Everything that can be steered by the page, with a script and without.
func TestPageSteers(t *testing.T) {
	t.Parallel()
	for _, scripted := range []bool{true, false} {
		t.Run(map[bool]string{true: "with a script", false: "without"}[scripted], func(t *testing.T) {
			t.Parallel()
			db := testdb.New(t, seeded)
			shell := shellOf(t, db)
			_, address := shell.serveHTTP(t, db, "--config=yearly.yaml", "--bootstrap-jobs=")
			p := openTab(t, address)
			p.script(scripted)
			// again is for what a page without a script shows when it is loaded again.
			again := func(selector, pattern string) {
				t.Helper()
				if scripted {
					p.reads(selector, pattern)
					return
				}
				testdb.WaitFor(t, pattern, waitPage, func(context.Context) (bool, any, error) {
					p.do(chromedp.Reload())
					text := p.text(selector)
					return regexp.MustCompile(pattern).MatchString(text), text, nil
				})
			}

			// A dry run with a parameter, and what it would delete.
			p.open("/jobs/cleanup_empty_contexts")
			p.fillIn("run", "#p-retention_hours", "1")
			p.send("run", "button[value=dry]")
			require.Equal(t, "/runs/1", p.path())
			again("#run-facts", `success\s+dry run\s+Rows it would change\s+470`)
			again("#run-rest", `What it would change[\s\S]*contexts\s+470`)
			again("#run-rest", `was asked for by \S+[\s\S]*ended: success[\s\S]*"retention_hours": 1`)
			require.Equal(t, 410, scalar[int](t, db, "SELECT count(*)::int FROM user_contexts WHERE context_id LIKE 'gone-%'"), "nothing was deleted")

			// What is refused says why, and nothing is asked for.
			p.open("/jobs/cleanup_empty_contexts")
			p.fillIn("run", "#p-retention_hours", "-3")
			p.send("run", "button[value=dry]")
			require.Regexp(t, `400 Bad Request[\s\S]*parameter "retention_hours": is -3, must be between 1 and`, p.text("main"))
			p.open("/jobs/cleanup_empty_contexts")
			p.fillIn("run", "#p-retention_hours", "soon")
			p.send("run", "button[value=dry]")
			require.Contains(t, p.text("main"), `parameter "retention_hours"`)
			p.forgive(`\b400\b`)
			require.Equal(t, 1, scalar[int](t, db, "SELECT count(*)::int FROM scheduler.runs"))

			// Really, as declared.
			p.open("/jobs/cleanup_empty_contexts")
			p.send("run", "button[value=real]")
			require.Equal(t, "/runs/2", p.path())
			again("#run-facts", `success\s+Rows changed\s+410`)

			// Pause, with a reason, and resume.
			p.open("/jobs/database_cleanup")
			p.unfold("pause")
			p.do(chromedp.Click(chromedp.CSS("#pause button"), chromedp.NodeVisible))
			require.True(t, look[bool](p, `document.querySelector("#reason:invalid") === document.activeElement`), "a reason is required: the browser says so")
			require.Equal(t, "active", scalar[string](t, db, "SELECT state FROM scheduler.jobs WHERE job_name = 'database_cleanup'"))
			p.fillIn("pause", "#reason", "<b>a backup & more</b>")
			p.send("pause", "button")
			again("#job-facts", `Paused since .*: <b>a backup & more</b>`)
			again("#job-facts", `not planned`)
			p.send("pause", "button")
			again("#job-facts", `active`)
			require.NotContains(t, p.text("#job-facts"), "Paused")

			// Reschedule, with the next five times before it is done, and back.
			p.open("/jobs/database_cleanup")
			p.fillIn("reschedule", "#schedule", "61 * * * *")
			if scripted {
				p.reads("#next", `61`)
			} else {
				p.press("#reschedule button.no-script")
			}
			require.Regexp(t, `61`, p.text("#next .text-bad"))
			if scripted {
				p.hasTrouble(`/next\?schedule=61\S*: 400`)
				p.forgive(`/next\?\S*(: 400)?$`)
			}
			p.fillIn("reschedule", "#schedule", "15 4 * * 1")
			if scripted {
				p.reads("#next", `at 04:15 on Monday`)
			} else {
				p.press("#reschedule button.no-script")
			}
			require.Contains(t, p.text("#next"), "at 04:15 on Monday")
			next := look[[]string](p, `[...document.querySelectorAll("#next li")].map((e) => e.innerText)`)
			require.Len(t, next, 5)
			for _, tick := range next {
				require.Regexp(t, `^Mon \d{4}-\d\d-\d\d 04:15:00 UTC$`, tick)
			}
			p.forgive(`/next\?\S*(: 400)?$`) // what was half typed
			p.press("#reschedule button:not(.no-script)")
			again("#job-facts", `at 04:15 on Monday\s+15 4 \* \* 1 in UTC, set over 0 0 3 \* \* \*`)
			again("#job-facts", strings.TrimPrefix(next[0], "Mon "))
			p.open("/jobs/database_cleanup")
			p.send("reschedule", "form + form button")
			again("#job-facts", `at 03:00 every day`)
			require.False(t, scalar[bool](t, db, "SELECT schedule_override IS NOT NULL FROM scheduler.job_definitions WHERE job_name = 'database_cleanup'"))

			// Cancel what is running.
			release := hold(t, db)
			id := shell.held(t, db)
			p.open(fmt.Sprintf("/runs/%d", id))
			p.fill("#cancel-reason", "too slow")
			p.press("#run-cancel button")
			again("#run-facts", `cancelled[\s\S]*too slow`)
			release()
			require.False(t, look[bool](p, `!!document.querySelector("#run-cancel form")`))

			// Pause, and cancel what is running.
			release = hold(t, db)
			id = shell.held(t, db)
			p.open("/jobs/cleanup_inactive_sessions")
			p.fillIn("pause", "#reason", "all of it")
			p.do(chromedp.Click(chromedp.CSS("#cancel"), chromedp.NodeVisible))
			p.send("pause", "button")
			again("#job-runs", fmt.Sprintf(`%d\s+cancelled`, id))
			release()

			// End a rollout.
			exec1(t, db, "UPDATE scheduler.job_definitions SET dry_run_from = now(), dry_run_until = now() + interval '1 day' WHERE job_name = 'cleanup_empty_contexts'")
			p.open("/jobs/cleanup_empty_contexts")
			require.Contains(t, p.text("#job-facts"), "in rollout")
			p.send("rollout", "button")
			see(p, false, `document.querySelector("#job-facts").innerText.includes("in rollout")`)
			require.False(t, scalar[bool](t, db, "SELECT dry_run_until IS NOT NULL FROM scheduler.jobs WHERE job_name = 'cleanup_empty_contexts'"))
		})
	}
}

// A browser asks for the password when a form is sent, and sends it again.
func TestPageAsksForThePassword(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, seeded)
	shell := shellOf(t, db)
	_, address := shell.serveHTTP(t, db, "--config=yearly.yaml", "--bootstrap-jobs=")
	p := openTab(t, address)
	p.authorize("")
	pause := func(reason string) {
		t.Helper()
		p.open("/jobs/database_cleanup")
		p.fillIn("pause", "#reason", reason)
		p.send("pause", "button")
	}
	pause("nobody in particular")
	require.Contains(t, p.text("main"), "this needs the token")
	p.audit()
	p.photograph("unauthorized", true)
	p.forgive(`\b401\b`)
	require.Equal(t, "active", scalar[string](t, db, "SELECT state FROM scheduler.jobs WHERE job_name = 'database_cleanup'"))

	p.answerChallenge("operator", "correct horse battery")
	pause("a backup")
	require.Equal(t, "/jobs/database_cleanup", p.path())
	p.reads("#job-facts", `Paused since .*: a backup`)
	require.Equal(t, "paused", scalar[string](t, db, "SELECT state FROM scheduler.jobs WHERE job_name = 'database_cleanup'"))
}

// answerChallenge fills in the browser's own dialog.
func (p *tab) answerChallenge(user, password string) {
	p.Helper()
	asked, paused := chromedp.Events(p.ctx, cdpfetch.AuthRequired), chromedp.Events(p.ctx, cdpfetch.RequestPaused)
	p.join(func() {
		for event, err := range asked {
			if err != nil {
				return
			}
			_, _ = chromedp.Call(p.ctx, cdpfetch.ContinueWithAuth, cdpfetch.ContinueWithAuthParams{RequestID: event.RequestID, AuthChallengeResponse: &cdpfetch.AuthChallengeResponse{
				Response: cdpfetch.AuthChallengeResponseResponseProvideCredentials, Username: user, Password: password,
			}})
		}
	})
	p.join(func() {
		for event, err := range paused {
			if err != nil {
				return
			}
			_, _ = chromedp.Call(p.ctx, cdpfetch.ContinueRequest, cdpfetch.ContinueRequestParams{RequestID: event.RequestID})
		}
	})
	call(p, cdpfetch.Enable, cdpfetch.EnableParams{HandleAuthRequests: new(true)})
}

// Read-only means that there is nothing to press.
func TestPageThatIsReadOnly(t *testing.T) {
	t.Parallel()
	db := testdb.New(t, seeded)
	shell := shellOf(t, db)
	_, address := shell.serveHTTP(t, db, "--config=yearly.yaml", "--bootstrap-jobs=", "--http-read-only")
	release := hold(t, db)
	id := shell.held(t, db)
	p := openTab(t, address)
	for _, path := range []string{"/", "/jobs/cleanup_inactive_sessions", fmt.Sprintf("/runs/%d", id)} {
		p.open(path)
		require.Empty(t, slices.DeleteFunc(look[[]string](p, `[...document.querySelectorAll("form")].map((f) => f.method)`), func(method string) bool { return method == "get" }), path)
		require.Contains(t, p.text("footer"), "read-only")
	}
	release()
}
