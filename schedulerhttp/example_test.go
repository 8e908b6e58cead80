package schedulerhttp_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs"
	"github.com/systempromptio/scheduler/schedulerhttp"
)

// The scheduler's pages below /scheduler in a program's own server, for those whom the
// program itself lets in.
func ExampleNew() {
	registry := prometheus.NewRegistry()
	s, err := scheduler.New(scheduler.Config{DatabaseURL: os.Getenv("DATABASE_URL"), Registry: &jobs.Registry{}, Metrics: registry})
	if err != nil {
		panic(err)
	}
	pages, err := schedulerhttp.New(schedulerhttp.Config{
		Scheduler: s, Prefix: "/scheduler", RiverUI: true, Gatherer: registry,
		AccessFunc: func(r *http.Request) schedulerhttp.Access {
			user := r.Header.Get("X-User") // in a program, what its session says
			return schedulerhttp.Access{Actor: user, Read: user != "", Change: user == "operator"}
		},
	})
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/scheduler/", pages)
	server := &http.Server{Handler: mux}
	server.RegisterOnShutdown(func() { _ = pages.Close() }) // it only tells of connections that are left open

	for _, path := range []string{"/scheduler/healthz", "/scheduler/"} {
		answer := httptest.NewRecorder()
		server.Handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, path, http.NoBody))
		fmt.Println(path, answer.Code)
	}
	fmt.Println(pages.Close())
	// Output:
	// /scheduler/healthz 200
	// /scheduler/ 403
	// <nil>
}

// A handler that nobody could use, or anybody, is refused.
func ExampleConfig() {
	s, err := scheduler.New(scheduler.Config{DatabaseURL: os.Getenv("DATABASE_URL"), Registry: &jobs.Registry{}})
	if err != nil {
		panic(err)
	}
	_, err = schedulerhttp.New(schedulerhttp.Config{Scheduler: s})
	var field *scheduler.ConfigError
	fmt.Println(errors.As(err, &field), field.Field)

	_, err = schedulerhttp.New(schedulerhttp.Config{Scheduler: s, Token: "0123456789abcdef01234567", User: "operator", Password: "correct horse battery", ReadOnly: true})
	fmt.Println(err)
	// Output:
	// true access
	// <nil>
}
