package integration

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/base64"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/remote"
	"github.com/stretchr/testify/require"

	"github.com/systempromptio/scheduler/integration/testdb"
)

const (
	// waitPage bounds what a page does, on a machine with other things to do.
	waitPage = 30 * time.Second

	// operator is the user of the pages, see serveHTTP.
	operator = "operator:correct horse battery"

	// wide and phone are the widths of a window.
	wide  = 1280
	phone = 360
)

// browser is the browser of all tests. It is a context of chromedp.
var browser = sync.OnceValues(func() (context.Context, error) {
	allocator, cancel := context.Background(), context.CancelFunc(nil)
	if path := os.Getenv("SCHEDULER_TEST_CHROMIUM"); path != "" {
		allocator, cancel = chromedp.NewExecAllocator(allocator, chromedp.ExecPath(path), chromedp.Headless, chromedp.NoFirstRun, chromedp.NoSandbox, chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("hide-scrollbars", true))
	} else {
		address, err := testdb.Chromium()
		if err != nil {
			return nil, err
		}
		allocator, cancel = remote.NewAllocator(allocator, address)
	}
	ctx, _ := chromedp.NewContext(allocator)
	if err := chromedp.Do(ctx); err != nil {
		cancel()
		return nil, err
	}
	closeBrowser = func() {
		cancel()
		chromedp.FromContext(ctx).Allocator.Wait()
	}
	return ctx, nil
})

// closeBrowser ends the browser, if it was started.
var closeBrowser = func() {}

// serveHTTP starts a replica that serves HTTP, as serve does, and returns where.
func (s shell) serveHTTP(t *testing.T, db *testdb.DB, args ...string) (p *process, address string) {
	t.Helper()
	s.variables = append(slices.Clone(s.variables), "SCHEDULER_HTTP_BASIC_AUTH="+operator)
	p = s.serve(t, db, append([]string{"--listen=127.0.0.1:0"}, args...)...)
	return p, p.address(t)
}

var servedAt = regexp.MustCompile(`msg="serving HTTP" .*?address=(http://\S+)`)

// address is where a replica serves HTTP.
func (p *process) address(t *testing.T) (address string) {
	t.Helper()
	testdb.WaitFor(t, "the HTTP surface", waitCLI, func(context.Context) (bool, any, error) {
		match := servedAt.FindStringSubmatch(p.stderr.String())
		if match != nil {
			address = match[1]
		}
		return match != nil, p.stderr.String(), nil
	})
	return address
}

// tab is a window of its own, with nobody else's cookies. What goes wrong in it (an
// error, a refusal by the content policy, a request that fails) fails its test, unless
// it was forgiven.
type tab struct {
	*testing.T

	ctx     context.Context
	cancel  context.CancelFunc
	address string
	// others are the goroutines that end with the tab.
	others sync.WaitGroup

	mu       sync.Mutex
	troubles []string
	// urls are the requests' addresses, events what came by a stream.
	urls   map[network.RequestID]string
	events []*network.EventEventSourceMessageReceived
}

// openTab opens a window on what is served at an address. It sends the operator's
// password with each request.
func openTab(t *testing.T, address string) *tab {
	t.Helper()
	parent, err := browser()
	require.NoError(t, err)
	ctx, cancel := chromedp.NewContext(parent, chromedp.WithNewBrowserContext())
	p := &tab{T: t, ctx: ctx, cancel: cancel, address: address, urls: make(map[network.RequestID]string)}
	require.NoError(t, chromedp.Listen(ctx, p.hear))
	t.Cleanup(func() {
		if t.Failed() && ctx.Err() == nil {
			p.photograph("failed", false)
		}
		p.mu.Lock()
		troubles := p.troubles
		p.mu.Unlock()
		if len(troubles) > 0 {
			t.Errorf("in the browser:\n%s", strings.Join(troubles, "\n"))
		}
		_ = p.close() // it may be closed
	})
	for _, domain := range []cdp.Command[cdp.Empty, cdp.Empty]{log.Enable, runtime.Enable} {
		call(p, domain, cdp.Empty{})
	}
	call(p, network.Enable, network.EnableParams{})
	call(p, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
	p.authorize(operator)
	p.resize(wide)
	return p
}

// close closes the window, and what it does.
func (p *tab) close() error {
	err := chromedp.Cancel(p.ctx)
	p.cancel()
	p.others.Wait()
	return err
}

// join runs something until the window is closed.
func (p *tab) join(run func()) { p.others.Go(run) }

// call sends a command of the protocol.
func call[P, R any](p *tab, command cdp.Command[P, R], params P) R {
	p.Helper()
	result, err := chromedp.Call(p.ctx, command, params)
	require.NoError(p, err, command.Method)
	return result
}

// hear notes what goes wrong.
func (p *tab) hear(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	trouble := func(format string, args ...any) { p.troubles = append(p.troubles, fmt.Sprintf(format, args...)) }
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		trouble("exception: %s %v", e.ExceptionDetails.Text, e.ExceptionDetails.Exception)
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			for _, arg := range e.Args {
				trouble("console: %s: %s %s", e.Type, arg.Value, arg.Description)
			}
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			trouble("log: %s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL)
		}
	case *network.EventRequestWillBeSent:
		p.urls[e.RequestID] = e.Request.URL
	case *network.EventLoadingFailed:
		if !e.Canceled && e.ErrorText != "net::ERR_ABORTED" {
			trouble("request: %s: %s %s", p.urls[e.RequestID], e.ErrorText, e.BlockedReason)
		}
	case *network.EventResponseReceived:
		if e.Response.Status >= 400 {
			trouble("answer: %s: %d", e.Response.URL, e.Response.Status)
		}
	case *network.EventEventSourceMessageReceived:
		p.events = append(p.events, e)
	}
}

// forgive drops the troubles so far. Each must be of a kind that is expected.
func (p *tab) forgive(expected string) {
	p.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, trouble := range p.troubles {
		require.Regexp(p, expected, trouble)
	}
	p.troubles = nil
}

// hasTrouble waits for a trouble.
func (p *tab) hasTrouble(expected string) {
	p.Helper()
	testdb.WaitFor(p, expected, waitPage, func(context.Context) (bool, any, error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		return slices.ContainsFunc(p.troubles, regexp.MustCompile(expected).MatchString), slices.Clone(p.troubles), nil
	})
}

// authorize sends a user and a password with each request; nothing for empty ones.
func (p *tab) authorize(user string) {
	p.Helper()
	headers := network.Headers{}
	if user != "" {
		headers["Authorization"] = "Basic " + base64.StdEncoding.EncodeToString([]byte(user))
	}
	call(p, network.SetExtraHTTPHeaders, network.SetExtraHTTPHeadersParams{Headers: headers})
}

// resize makes the window so wide. Narrow ones are phones.
func (p *tab) resize(width int64) {
	p.Helper()
	call(p, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 800, DeviceScaleFactor: 1, Mobile: width <= phone})
}

// prefer sets the colours: light or dark.
func (p *tab) prefer(scheme string) {
	p.Helper()
	call(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}})
}

// script turns scripts on or off, for what is loaded from now on.
func (p *tab) script(on bool) {
	p.Helper()
	call(p, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !on})
}

// do does things, within waitPage.
func (p *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, waitPage)
	defer cancel()
	require.NoError(p, chromedp.Do(ctx, steps...))
}

// open goes to a path.
func (p *tab) open(path string) {
	p.Helper()
	p.do(chromedp.Navigate(p.address + path))
}

// press clicks on what a selector names, and waits for the page that comes of it: another
// document, even where it has the same address.
func (p *tab) press(selector string) {
	p.Helper()
	look[any](p, "window.pressed = true; 0")
	p.do(chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
	see(p, true, `window.pressed !== true && location.href !== "about:blank" && document.readyState === "complete"`)
}

// fill types text into a field, in the place of what was there.
func (p *tab) fill(selector, text string) {
	p.Helper()
	p.do(chromedp.Focus(chromedp.CSS(selector), chromedp.NodeVisible))
	look[any](p, "document.activeElement.select(); 0")
	p.do(chromedp.KeyEvent(text))
}

// look evaluates an expression in the page.
func look[V any](p *tab, expression string) V {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, waitPage)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[V](expression))
	require.NoError(p, err, expression)
	return value
}

// see waits until an expression has a value.
func see[V comparable](p *tab, want V, expression string) {
	p.Helper()
	testdb.WaitFor(p, fmt.Sprintf("%s to be %v", expression, want), waitPage, func(context.Context) (bool, any, error) {
		// The page may be on its way to another.
		value, err := chromedp.Run(p.ctx, chromedp.Evaluate[V](expression))
		return value == want, value, err
	})
}

// text is the text of what a selector names, as it is seen.
func (p *tab) text(selector string) string {
	p.Helper()
	return look[string](p, fmt.Sprintf("document.querySelector(%q)?.innerText ?? ''", selector))
}

// reads waits until the text of what a selector names matches.
func (p *tab) reads(selector, pattern string) {
	p.Helper()
	match := regexp.MustCompile(pattern)
	testdb.WaitFor(p, fmt.Sprintf("%s to read %q", selector, pattern), waitPage, func(context.Context) (bool, any, error) {
		// The page may be on its way to another.
		text, err := chromedp.Run(p.ctx, chromedp.Evaluate[string](fmt.Sprintf("document.querySelector(%q)?.innerText ?? ''", selector)))
		return match.MatchString(text), text, err
	})
}

// path is where the window is.
func (p *tab) path() string {
	p.Helper()
	return look[string](p, "location.pathname + location.search")
}

// artifacts is where pictures are kept: the folder that SCHEDULER_TEST_ARTIFACTS names,
// or that of go test -artifacts.
func (p *tab) artifacts() string {
	p.Helper()
	folder := os.Getenv("SCHEDULER_TEST_ARTIFACTS")
	if folder == "" {
		return p.ArtifactDir()
	}
	folder = filepath.Join(folder, strings.ReplaceAll(p.Name(), "/", "_"))
	require.NoError(p, os.MkdirAll(folder, 0o755))
	return folder
}

// photograph keeps a picture of the page, or of the part that the window shows.
//
// Nobody looks at them unless a place for them is named.
func (p *tab) photograph(name string, whole bool) {
	p.Helper()
	if os.Getenv("SCHEDULER_TEST_ARTIFACTS") == "" && flag.Lookup("test.artifacts").Value.String() != "true" {
		return
	}
	take := chromedp.CaptureScreenshot()
	if whole {
		take = chromedp.FullScreenshot(100)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), waitPage)
	defer cancel()
	picture, err := chromedp.Run(ctx, take)
	if err != nil {
		p.Errorf("take a picture of %s: %v", name, err)
		return
	}
	if err := os.WriteFile(filepath.Join(p.artifacts(), name+".png"), picture, 0o644); err != nil {
		p.Error(err)
	}
}

//go:embed testdata/accessible.js
var accessible string

// flaw is what is wrong with a page.
type flaw struct {
	Rule, Element, Why string
}

// audit looks at the page as somebody who sees little, or has no mouse.
func (p *tab) audit() {
	p.Helper()
	where := p.path()
	found := look[[]flaw](p, accessible)
	slices.SortFunc(found, func(a, b flaw) int { return cmp.Or(cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Element, b.Element)) })
	for _, f := range found {
		p.Errorf("%s: %s: %s: %s", where, f.Rule, f.Why, f.Element)
	}
}
