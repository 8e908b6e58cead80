package web

import (
	"bytes"
	"fmt"
	"html/template"
	"net/http"
	"strings"
)

// parsed are the templates; each site has a copy with its own addresses.
//
//nolint:gochecknoglobals // parsed once, never changed
var parsed = template.Must(template.New("").Funcs(functions()).Funcs(template.FuncMap{"base": func() string { return "" }}).ParseFS(files, "templates/*.html"))

// site makes the pages, for the place where they are.
type site struct {
	// prefix is in front of each address; empty for the root.
	prefix    string
	templates *template.Template
}

func newSite(prefix string) *site {
	own := template.Must(parsed.Clone()) // it was never executed
	return &site{prefix: prefix, templates: own.Funcs(template.FuncMap{"base": func() string { return prefix }})}
}

// at serves what is served below the prefix, and leads to it from the prefix itself.
func (s *site) at(next http.Handler) http.Handler {
	if s.prefix == "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == s.prefix {
			http.Redirect(w, r, s.prefix+"/", http.StatusMovedPermanently)
			return
		}
		http.StripPrefix(s.prefix, next).ServeHTTP(w, r)
	})
}

// checkPrefix refuses what would not be the beginning of an address.
func checkPrefix(prefix string) error {
	if prefix == "" {
		return nil
	}
	if !strings.HasPrefix(prefix, "/") || strings.HasSuffix(prefix, "/") || strings.Contains(prefix, "//") ||
		strings.Contains(prefix, "/.") || strings.ContainsFunc(prefix, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~/", r)
	}) {
		return fmt.Errorf(`%q is no path such as "/scheduler": begin it with a slash, end it without one, and use letters, digits and -_.~`, prefix)
	}
	return nil
}

// render makes the HTML of fragments.
func (s *site) render(fragments []fragment) ([]part, error) {
	parts := make([]part, 0, len(fragments))
	var b bytes.Buffer
	for _, f := range fragments {
		b.Reset()
		if err := s.templates.ExecuteTemplate(&b, f.template, f.data); err != nil {
			return nil, fmt.Errorf("make the element %s: %w", f.id, err)
		}
		parts = append(parts, newPart(f.id, b.Bytes()))
	}
	return parts, nil
}

// writePage renders the whole page before any of it is sent.
func (s *site) writePage(w http.ResponseWriter, status int, name string, data any) {
	var b bytes.Buffer
	if err := s.templates.ExecuteTemplate(&b, name, data); err != nil {
		http.Error(w, "the page could not be made: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // whoever asked may have gone
}

func (s *site) writeErrorPage(w http.ResponseWriter, refused *refusal) {
	s.writePage(w, refused.status, "error.html", struct {
		page
		Message string
	}{page{Title: fmt.Sprintf("%d %s", refused.status, http.StatusText(refused.status))}, refused.message})
}

// writeRefusal tells why a request is not served, as its sender reads it.
func (s *site) writeRefusal(w http.ResponseWriter, r *http.Request, refused *refusal) {
	if !wantsJSON(r) {
		s.writeErrorPage(w, refused)
		return
	}
	var answer errorAnswer
	answer.Error.Code, answer.Error.Message = refused.code, refused.message
	writeJSON(w, refused.status, answer)
}
