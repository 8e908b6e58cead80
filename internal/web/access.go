package web

import (
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"log/slog"
	"net"
	"net/http"
	"strings"

	"github.com/systempromptio/scheduler"
)

// access decides who may do what; see the package's documentation.
type access struct {
	token          [sha256.Size]byte
	user, password [sha256.Size]byte
	hasToken       bool
	hasUser        bool
	// loopback: nobody but this machine reaches the address.
	loopback bool
	readOnly bool
	// crossOrigin knows which requests a browser sends for another site's page.
	crossOrigin *http.CrossOriginProtection
	logger      *slog.Logger
	// grant, if not nil, decides in the place of credentials.
	grant func(*http.Request) Access
	site  *site
}

// Access is what somebody may do.
type Access struct {
	// Actor is who it is, for the log and the view operations. Empty means that it is not
	// known.
	Actor string
	// Read lets a request read, Change lets it read and change.
	Read, Change bool
}

func newAccess(c Config, site *site) *access {
	host, _, _ := net.SplitHostPort(c.Listen) // checked by Validate
	return &access{
		token: sha256.Sum256([]byte(c.Token)), hasToken: c.Token != "",
		user: sha256.Sum256([]byte(c.User)), password: sha256.Sum256([]byte(c.Password)), hasUser: c.User != "",
		grant: c.AccessFunc, site: site,
		loopback: !c.Embedded && isLoopback(host), readOnly: c.ReadOnly, crossOrigin: http.NewCrossOriginProtection(), logger: c.Logger,
	}
}

// changes says whether a request is one that changes something.
func changes(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return false
	}
	return true
}

// credentials says whether a request has any, and whether they are right.
func (a *access) credentials(r *http.Request) (given, right bool) {
	kind, rest, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if token := strings.TrimSpace(rest); strings.EqualFold(kind, "Bearer") {
		return true, a.hasToken && same(a.token, token)
	}
	user, password, ok := r.BasicAuth()
	if !ok {
		return kind != "", false
	}
	// Every comparison is made, whatever the others say.
	byToken := a.hasToken && same(a.token, password)
	byUser, byPassword := same(a.user, user), same(a.password, password)
	return true, byToken || a.hasUser && byUser && byPassword
}

// same compares in a time that tells nothing about the secret, not even its length.
func same(secret [sha256.Size]byte, text string) bool {
	sum := sha256.Sum256([]byte(text))
	return subtle.ConstantTimeCompare(secret[:], sum[:]) == 1
}

// openFor says whether a request may read without credentials.
func (a *access) openFor(r *http.Request) bool {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return a.loopback && isLoopback(host) && !forwarded(r)
}

// forwarded says whether a proxy has passed the request on: its sender may be anybody.
func forwarded(r *http.Request) bool {
	for _, name := range []string{"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip"} {
		if r.Header.Get(name) != "" {
			return true
		}
	}
	return false
}

// refusal is why a request is not served.
type refusal struct {
	status        int
	code, message string
}

// check says why a request may not go on, or who has sent it.
func (a *access) check(r *http.Request) (actor string, refused *refusal) {
	if a.grant != nil {
		actor, refused = a.checkGrant(r)
	} else {
		actor, refused = a.checkCredentials(r)
	}
	if refused != nil || !changes(r) {
		return actor, refused
	}
	if err := a.crossOrigin.Check(r); err != nil {
		return "", &refusal{http.StatusForbidden, "cross_site", "a page of another site has sent this: " + err.Error()}
	}
	if a.readOnly {
		return "", &refusal{http.StatusForbidden, "read_only", "this replica's HTTP surface is read-only (http_read_only): use the command line or SQL, or another replica"}
	}
	return actor, nil
}

// checkGrant asks the program whose server it is.
func (a *access) checkGrant(r *http.Request) (actor string, refused *refusal) {
	granted := a.grant(r)
	switch {
	case granted.Change, granted.Read && !changes(r):
		return granted.Actor, nil
	case granted.Read:
		return "", &refusal{http.StatusForbidden, "forbidden", "you may read, and not change anything"}
	}
	return "", &refusal{http.StatusForbidden, "forbidden", "this is not for you"}
}

// checkCredentials looks at the token, or the user and the password.
func (a *access) checkCredentials(r *http.Request) (actor string, refused *refusal) {
	given, right := a.credentials(r)
	switch {
	case given && !right:
		return "", &refusal{http.StatusUnauthorized, "unauthorized", "the token, or the user and the password, are wrong"}
	case !right && !changes(r) && a.openFor(r):
		return "", nil
	case !right && !a.hasToken && !a.hasUser && changes(r):
		return "", &refusal{http.StatusForbidden, "no_credentials_configured", "this replica takes no changing calls over HTTP: set http_token or http_basic_auth in its configuration, or use the command line or SQL"}
	case !right && !a.hasToken && !a.hasUser:
		return "", &refusal{http.StatusForbidden, "not_at_the_machine", "without http_token or http_basic_auth in the configuration, pages are for this machine's own names only: open http://127.0.0.1 or http://localhost"}
	case !right:
		return "", &refusal{http.StatusUnauthorized, "unauthorized", "this needs the token (Authorization: Bearer ...), or a user and a password"}
	}
	user, _, _ := r.BasicAuth()
	return cmp.Or(user, "token"), nil
}

// guard serves only what may be served, and logs what is refused and who changes
// something.
func (a *access) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		log := a.logger.With(slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.String("remote", r.RemoteAddr))
		actor, refused := a.check(r)
		if refused != nil {
			if refused.status == http.StatusUnauthorized {
				w.Header().Add("WWW-Authenticate", `Basic realm="scheduler", charset="UTF-8"`)
			}
			// Whoever was asked for a password for the first time has done nothing wrong.
			if given, _ := a.credentials(r); given || refused.status != http.StatusUnauthorized {
				log.WarnContext(r.Context(), "refused over HTTP", slog.String("reason", refused.code))
			}
			a.site.writeRefusal(w, r, refused)
			return
		}
		if changes(r) {
			log.InfoContext(r.Context(), "asked for over HTTP", slog.String("user", actor))
			host, _, _ := net.SplitHostPort(r.RemoteAddr)
			r = r.WithContext(scheduler.WithActor(r.Context(), strings.Join([]string{"http", cmp.Or(actor, "somebody"), host}, " ")))
		}
		next.ServeHTTP(w, r)
	})
}

// contentPolicy lets a page load nothing but what this server has, and run no inline
// script.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// riverPolicy is River UI's: its components set styles.
const riverPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

func secure(policy string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		// Not no-referrer: a form would then be sent with "Origin: null".
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}
