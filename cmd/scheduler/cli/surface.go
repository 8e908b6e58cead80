package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/internal/config"
	"github.com/systempromptio/scheduler/internal/connection"
	"github.com/systempromptio/scheduler/internal/web"
)

// newSurface makes the HTTP surface of a replica; nil if none was asked for. The gatherer
// is what /metrics shows.
func (a *app) newSurface(settings config.Settings, gatherer prometheus.Gatherer) (*web.Server, error) {
	if settings.HTTP.Listen == "" {
		return nil, nil
	}
	c := settings.Scheduler
	user, password, found := strings.Cut(settings.HTTP.BasicAuth, ":")
	if !found && user != "" {
		return nil, &scheduler.ConfigError{Field: "http_basic_auth", Err: fmt.Errorf("must have the form user:password")}
	}
	return web.New(web.Config{
		Listen: settings.HTTP.Listen, Token: settings.HTTP.Token, User: user, Password: password, ReadOnly: settings.HTTP.ReadOnly,
		ConnectFunc: func(ctx context.Context) (*scheduler.Client, error) {
			return scheduler.NewClient(ctx, c.DatabaseURL, c.Schema)
		},
		RiverFunc: func(ctx context.Context) (*web.River, error) {
			return web.NewRiver(ctx, connection.Source{URL: c.DatabaseURL}, cmp.Or(c.Schema, scheduler.SchemaDefault), "", c.Logger)
		},
		Registry: c.Registry, Gatherer: gatherer, Version: a.given.Version, Logger: c.Logger,
	})
}
