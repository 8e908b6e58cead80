package blog

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLoad(t *testing.T) {
	t.Parallel()
	folder := files(t, map[string]string{"blog.yaml": `
sources:
  - name: articles
    path: content/articles
    source_id: blog
    category_id: main
    allowed_kinds: [article, guide]
    recursive: true
    override_existing: true
  - {name: papers, path: /srv/papers, source_id: papers, enabled: false}
images: {folder: public/images, address: /images/}
`})
	config, err := Load(filepath.Join(folder, "blog.yaml"))
	require.NoError(t, err)
	off := false
	require.Equal(t, Config{
		Sources: []Source{
			{Name: "articles", Path: filepath.Join(folder, "content/articles"), SourceID: "blog", CategoryID: "main", AllowedKinds: []string{"article", "guide"}, Recursive: true, OverrideExisting: true},
			{Name: "papers", Path: "/srv/papers", SourceID: "papers", Enabled: &off},
		},
		Images: Images{Folder: filepath.Join(folder, "public/images"), Address: "/images/"},
	}, config)

	config, err = Load("")
	require.NoError(t, err)
	require.Zero(t, config)
	_, err = Load(filepath.Join(folder, "none.yaml"))
	require.ErrorContains(t, err, "none.yaml")
}

func TestLoad_refusals(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"sources: [{nme: a}]":                           "yaml: unmarshal errors: line 1: field nme not found",
		"sources: 5":                                    "cannot unmarshal",
		"a: b\n---\nc: d":                               "field a not found",
		"images: {}\n---\nc: d":                         "more than one document",
		"sources: [{path: a}]":                          "sources[0]: name is missing",
		"sources: [{name: a}]":                          `source "a": path is missing; source_id is missing`,
		"sources: [{name: a/b, path: a, source_id: a}]": "name must have no slash",
		"images: {folder: a}":                           `address is "", must begin and end with a slash`,
		"images: {address: /a/}":                        "folder is missing",
		"sources: [{name: a, path: b, source_id: c, allowed_kinds: [novel]}]":           `"novel" is none; they are article`,
		"sources: [{name: a, path: b, source_id: c}, {name: a, path: b, source_id: c}]": "given twice",
		"sources: [{name: a, path: b, source_id: \"c\\0\"}]":                            "source_id must be one line",
	} {
		folder := files(t, map[string]string{"blog.yaml": text})
		_, err := Load(filepath.Join(folder, "blog.yaml"))
		require.ErrorContains(t, err, "blog.yaml", text)
		require.Contains(t, oneLine(err.Error()), want, text)
	}
}
