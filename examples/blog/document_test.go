package blog

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// written is a file with front matter of some fields over the required ones; a field that
// is empty is left out.
func written(fields map[string]string, body string) string {
	all := map[string]string{"title": "A title", "slug": "a-slug", "published_at": "2026-01-31", "kind": "article", "author": "Ada"}
	maps.Copy(all, fields)
	var text strings.Builder
	text.WriteString("---\n")
	for name, value := range all {
		if value != "" {
			fmt.Fprintf(&text, "%s: %s\n", name, value)
		}
	}
	return text.String() + "---\n" + body
}

func TestParse(t *testing.T) {
	t.Parallel()
	doc, err := parse([]byte(`---
title: "  On: colons  "
slug: on-colons-2
published_at: 2024-02-29
kind: guide
author: Ada
description: |
  Two
  lines
keywords: [one, "two"]
image: /images/a.png
category: punctuation
links:
  - {title: Elsewhere, url: "https://example.com/?a=b"}
tags: [x]
layout: wide
---

# Text

---
more
`), Kinds())
	require.NoError(t, err)
	require.Equal(t, "On: colons", doc.title)
	require.Equal(t, "on-colons-2", doc.slug)
	require.Equal(t, time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC), doc.published)
	require.Equal(t, "Two\nlines", doc.description)
	require.Equal(t, "one, two", doc.keywords)
	require.Equal(t, "/images/a.png", doc.image)
	require.Equal(t, []link{{"Elsewhere", "https://example.com/?a=b"}}, doc.links)
	require.Equal(t, []string{"layout"}, doc.unknown)
	require.Equal(t, "\n# Text\n\n---\nmore\n", doc.body, "the text as it was written")
}

func TestParse_whatIsTheSame(t *testing.T) {
	t.Parallel()
	plain := written(map[string]string{"description": "x"}, "one\ntwo\n")
	want, err := parse([]byte(plain), Kinds())
	require.NoError(t, err)
	for name, text := range map[string]string{
		"CR LF":            strings.ReplaceAll(plain, "\n", "\r\n"),
		"a mark":           "\uFEFF" + plain,
		"quotes":           strings.Replace(plain, "2026-01-31", `"2026-01-31"`, 1),
		"an empty field":   strings.Replace(plain, "title:", "image:\ntitle:", 1),
		"another kind":     strings.Replace(plain, "kind: article", "kind: paper", 1),
		"an unknown thing": strings.Replace(plain, "title:", "draft: {a: [1]}\ntitle:", 1),
	} {
		doc, err := parse([]byte(text), Kinds())
		require.NoError(t, err, name)
		require.Equal(t, want.hash, doc.hash, name)
		require.Equal(t, "one\ntwo\n", doc.body, name)
	}
	require.Len(t, want.hash, 64)
	for name, text := range map[string]string{
		"title":       strings.Replace(plain, "A title", "Another", 1),
		"body":        plain + "three\n",
		"description": strings.Replace(plain, "description: x", "description: y", 1),
		"author":      strings.Replace(plain, "Ada", "Bob", 1),
		"date":        strings.Replace(plain, "01-31", "01-30", 1),
	} {
		doc, err := parse([]byte(text), Kinds())
		require.NoError(t, err, name)
		require.NotEqual(t, want.hash, doc.hash, name)
	}
	// A text that moves from one part to the next.
	require.NotEqual(t, (&document{title: "ab", body: "c"}).versionHash(), (&document{title: "a", body: "bc"}).versionHash())
}

func TestParse_refusals(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 1<<20)
	for _, test := range []struct{ name, text, want string }{
		{"nothing", "", "no front matter: the first line must be ---"},
		{"no front matter", "# Text\n", "no front matter"},
		{"a line before it", "\n" + written(nil, ""), "no front matter"},
		{"not closed", "---\ntitle: x\n", "the line --- that ends it is missing"},
		{"empty", "---\n---\ntext\n", "must hold fields, such as a title"},
		{"a list", "---\n- a\n---\n", "must hold fields, such as a title"},
		{"two documents", "---\na: 1\n...\nb: 2\n---\n", "front matter: "},
		{"bad YAML", "---\ntitle: [\n---\n", "front matter: yaml: line 2"},
		{"a field twice", written(map[string]string{"title": "x\ntitle: y"}, ""), `mapping key "title" already defined`},
		{"all that is missing", "---\na: 1\n---\n", "title is missing; slug is missing; published_at is missing; kind is missing; author is missing"},
		{"empty title", written(map[string]string{"title": `" "`}, ""), "title is missing"},
		{"null title", written(map[string]string{"title": "~"}, ""), "title is missing"},
		{"a number for a title", "---\nslug: x\ntitle: 5\n---\n", `line 3: must be a text, not the number "5"`},
		{"a boolean for an author", written(map[string]string{"author": "true"}, ""), "must be a text, not the boolean"},
		{"a list for a slug", written(map[string]string{"slug": "[a]"}, ""), "must be a text, not a list"},
		{"a line break in a title", written(map[string]string{"title": `"a\nb"`}, ""), "must be one line"},
		{"NUL by an escape", written(map[string]string{"description": `"a\0b"`}, ""), "holds a character that no text holds"},
		{"upper case in a slug", written(map[string]string{"slug": "A"}, ""), `slug is "A"`},
		{"a path for a slug", written(map[string]string{"slug": "../etc"}, ""), `slug is "../etc"`},
		{"a long slug", written(map[string]string{"slug": strings.Repeat("a", 501)}, ""), "slug has 501 characters"},
		{"another kind", written(map[string]string{"kind": "novel"}, ""), `kind is "novel", must be one of the source's: article`},
		{"no day", written(map[string]string{"published_at": "2026-02-30"}, ""), `published_at is "2026-02-30"`},
		{"a time", written(map[string]string{"published_at": "2026-01-31T10:00:00Z"}, ""), "must be a day that exists"},
		{"another form of date", written(map[string]string{"published_at": "31.1.2026"}, ""), "must be a day that exists"},
		{"the year 0", written(map[string]string{"published_at": "0000-01-01"}, ""), "must be a day that exists"},
		{"a number for a date", written(map[string]string{"published_at": "20260131"}, ""), "must be a day such as"},
		{"a link without url", written(map[string]string{"links": "[{title: a}]"}, ""), "links[0] must have a title and a url"},
		{"text for links", written(map[string]string{"links": "here"}, ""), "cannot unmarshal"},
		{"a number in keywords", written(map[string]string{"keywords": "[1]"}, ""), "must be a text, not the number"},
		{"NUL", written(nil, "a\x00"), "is NUL"},
		{"not UTF-8", written(nil, "a\xff"), "is not UTF-8"},
		{"UTF-16", "\xff\xfe-\x00-\x00", "is NUL"},
		{"1 MB of front matter", written(map[string]string{"description": long}, "text"), "more than 65536 bytes"},
		{"1 MB and never closed", "---\n" + strings.Repeat("a: b\n", 1<<18), "more than 65536 bytes"},
		{"aliases that grow", "---\na: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n" +
			"d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\nkeywords: *f\n---\n", "front matter: "},
		{"an alias of itself", "---\na: &a [*a]\nkeywords: *a\n---\n", "front matter: "},
		{"60,000 lists in each other", "---\nkeywords: " + strings.Repeat("[", 60_000) + "\n---\n", "front matter: "},
	} {
		begin := time.Now()
		_, err := parse([]byte(test.text), Kinds())
		require.ErrorContains(t, err, test.want, test.name)
		require.Less(t, len(reason(err)), reasonMax+10, test.name)
		require.NotContains(t, reason(err), "\n", test.name)
		require.Less(t, time.Since(begin), 5*time.Second, test.name)
	}
}

func TestParse_theLargestFrontMatter(t *testing.T) {
	t.Parallel()
	plain := written(map[string]string{"description": "x"}, "body")
	front := strings.Index(plain, "---\nbody") - len("---\n")
	for more, want := range map[int]string{frontMatterMax - front: "", frontMatterMax - front + 1: "more than 65536 bytes"} {
		doc, err := parse([]byte(strings.Replace(plain, "description: x", "description: x"+strings.Repeat("y", more), 1)), Kinds())
		if want != "" {
			require.ErrorContains(t, err, want)
			continue
		}
		require.NoError(t, err)
		require.Len(t, doc.description, more+1)
		require.Equal(t, "body", doc.body)
	}
}

// Markdown that takes a parser of it long costs nothing.
func TestParse_hostileMarkdown(t *testing.T) {
	t.Parallel()
	for name, piece := range map[string]string{
		"brackets": "[", "quotes": "> ", "emphasis": "*a _", "links": "[a](", "backticks": "`a``", "lists": "- ", "HTML": "<!--", "tabs": "\t", "definitions": "[a]: b\n", "dashes": "---\n", "entities": "&#",
	} {
		body := strings.Repeat(piece, (6<<20)/len(piece))
		begin := time.Now()
		doc, err := parse([]byte(written(nil, body)), Kinds())
		require.NoError(t, err, name)
		require.Equal(t, body, doc.body, name)
		require.Less(t, time.Since(begin), 10*time.Second, name)
	}
}

func TestNotPanicking(t *testing.T) {
	t.Parallel()
	err := func() (err error) {
		defer notPanicking(&err)
		panic("a reader has a mistake")
	}()
	require.EqualError(t, err, "reading it panics: a reader has a mistake")
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(written(map[string]string{"keywords": "[a, b]", "links": "[{title: a, url: b}]"}, "# x\n")))
	f.Add([]byte("---\n&a : *a\n---\n"))
	f.Fuzz(func(t *testing.T, source []byte) {
		doc, err := parse(source, Kinds())
		if err != nil {
			require.NoError(t, checkText([]byte(reason(err))))
			return
		}
		require.NoError(t, checkText([]byte(doc.title+doc.body+doc.description+doc.author+doc.keywords+doc.image+doc.category)))
		require.Regexp(t, slugRE, doc.slug)
	})
}
