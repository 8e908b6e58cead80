package web

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

// A hundred scrapes at once are all answered; those beyond the bound are refused at once.
func TestScrapesAtOnce(t *testing.T) {
	t.Parallel()
	began, release := make(chan struct{}), make(chan struct{})
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "slow", Help: "Slow."}, func() float64 {
		began <- struct{}{}
		<-release
		return 1
	}))
	s := newTestServer(t, Config{Listen: "127.0.0.1:1", Gatherer: registry})
	scrape := func() int { return serveRequest(s, httptest.NewRequest(http.MethodGet, "/metrics", nil)).Code }
	require.GreaterOrEqual(t, scrapesMax, 100)
	codes := make([]int, scrapesMax)
	var all sync.WaitGroup
	for i := range codes {
		all.Go(func() { codes[i] = scrape() })
	}
	for range codes {
		<-began
	}
	refused := scrape()
	close(release)
	all.Wait()
	require.Equal(t, http.StatusServiceUnavailable, refused)
	for _, code := range codes {
		require.Equal(t, http.StatusOK, code)
	}
}
