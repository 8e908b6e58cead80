package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/systempromptio/scheduler"
	"github.com/systempromptio/scheduler/jobs"
)

const (
	// tokenMin and passwordMin are the shortest secrets, in characters. They are all
	// that stands between a network and the buttons, and nobody has to type a token.
	tokenMin    = 16
	passwordMin = 12
)

// Config configures a [Server].
type Config struct {
	// Listen is the address: host:port, or a port, which is one of 127.0.0.1. A host
	// that is left out, as in ":8080", means every address of the machine. Required, unless
	// Embedded is set.
	Listen string

	// Embedded: another program's server serves the pages, so that nobody is at the machine.
	Embedded bool

	// Prefix is where they are in it, such as "/scheduler". Empty means the root.
	Prefix string

	// AccessFunc, if not nil, says who may do what; Token, User and Password then are of
	// no use.
	AccessFunc func(*http.Request) Access

	// Token is a secret that lets a request do everything: as a bearer token, or as
	// the password of any user. Empty means none.
	Token string

	// User and Password are a user of basic authentication. Empty means none.
	User, Password string

	// ReadOnly refuses every changing call.
	ReadOnly bool

	// ConnectFunc opens the client of the database. It is called until it succeeds,
	// whenever something is asked for. Required.
	ConnectFunc func(ctx context.Context) (*scheduler.Client, error)

	// RiverFunc opens what River UI needs; see [NewRiver]. Nil means that there is no
	// River UI.
	RiverFunc func(ctx context.Context) (*River, error)

	// Registry holds the jobs that can explain themselves. Nil means
	// jobs.DefaultRegistry().
	Registry *jobs.Registry

	// Gatherer is what /metrics shows. Nil means that there is no such page.
	Gatherer prometheus.Gatherer

	// Version is the program's, for people.
	Version string

	// Logger receives errors, refused requests, and who changed what. Nil means
	// slog.Default().
	Logger *slog.Logger
}

// withDefaults returns a copy with zero values filled in.
func (c Config) withDefaults() Config {
	if c.Registry == nil {
		c.Registry = jobs.DefaultRegistry()
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if _, err := portNumber(c.Listen); err == nil && !c.Embedded {
		c.Listen = net.JoinHostPort("127.0.0.1", c.Listen)
	}
	c.Version = cmp.Or(c.Version, "dev")
	return c
}

// Validate says what [New] would refuse, field by field of the configuration file.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	refuse := func(field, format string, args ...any) {
		errs = append(errs, &scheduler.ConfigError{Field: field, Err: fmt.Errorf(format, args...)})
	}
	if c.Embedded {
		if err := checkPrefix(c.Prefix); err != nil {
			refuse("prefix", "%w", err)
		}
		if c.AccessFunc == nil && c.Token == "" && c.User == "" {
			refuse("access", "nobody could use it: say who may do what by AccessFunc, or set a Token, or a User and a Password")
		}
	} else if err := c.checkListen(); err != nil {
		return err
	}
	if c.Token != "" && len(c.Token) < tokenMin {
		refuse("http_token", "has %d characters, must have at least %d; make one with: openssl rand -hex 24", len(c.Token), tokenMin)
	}
	if strings.ContainsFunc(c.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		refuse("http_token", "holds a character that no header can carry; use letters, digits and punctuation")
	}
	switch {
	case (c.User == "") != (c.Password == ""):
		refuse("http_basic_auth", "must have the form user:password")
	case strings.Contains(c.User, ":"):
		refuse("http_basic_auth", "a user's name has no colon")
	case c.Password != "" && len(c.Password) < passwordMin:
		refuse("http_basic_auth", "the password has %d characters, must have at least %d", len(c.Password), passwordMin)
	}
	if host, _, _ := net.SplitHostPort(c.Listen); !c.Embedded && !isLoopback(host) && c.Token == "" && c.User == "" {
		refuse("listen", "%q can be reached from other machines: set http_token or http_basic_auth, or listen on 127.0.0.1", c.Listen)
	}
	return errors.Join(errs...)
}

func (c Config) checkListen() error {
	_, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return &scheduler.ConfigError{Field: "listen", Err: fmt.Errorf(`%q is no address; write one such as "127.0.0.1:8080", or a port`, c.Listen)}
	}
	if _, err := portNumber(port); err != nil {
		return &scheduler.ConfigError{Field: "listen", Err: fmt.Errorf("%q has no port between 0 and 65535", c.Listen)}
	}
	return nil
}

// Addresses lists n addresses: listen, and those on the ports after it. Port 0 is any
// that is free, for all of them.
func Addresses(listen string, n int) ([]string, error) {
	listen = Config{Listen: listen}.withDefaults().Listen
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return nil, &scheduler.ConfigError{Field: "listen", Err: err}
	}
	first, err := portNumber(port)
	if err != nil || first+n-1 > 65535 {
		return nil, &scheduler.ConfigError{Field: "listen", Err: fmt.Errorf("%q leaves no port for each of %d replicas", listen, n)}
	}
	list := make([]string, 0, n)
	for i := range n {
		if first > 0 {
			port = strconv.Itoa(first + i)
		}
		list = append(list, net.JoinHostPort(host, port))
	}
	return list, nil
}

func portNumber(port string) (int, error) {
	n, err := strconv.ParseUint(port, 10, 16)
	return int(n), err
}

// isLoopback says whether a host, as somebody listens on it or names it, is this
// machine and nobody else's.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	address, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && address.Unmap().IsLoopback()
}
