package blog

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
	"github.com/yuin/goldmark/util"
	"go.abhg.dev/goldmark/frontmatter"
	"go.yaml.in/yaml/v3"
)

const (
	// frontMatterMax is how many bytes the front matter of a file may have.
	frontMatterMax = 64 << 10
	// slugMax is how many characters a slug may have: it is a key.
	slugMax = 500
)

var slugRE = regexp.MustCompile(`^[a-z0-9-]+$`)

// document is what a file says.
type document struct {
	slug, title, description, author, keywords, kind, image, category string
	published                                                         time.Time
	links                                                             []link
	body                                                              string
	// hash tells versions of the content apart.
	hash string
	// unknown are the fields of the front matter that mean nothing here, in order.
	unknown []string
}

// link is a reference of a document.
type link struct {
	Title line `json:"title" yaml:"title"`
	URL   line `json:"url"   yaml:"url"`
}

// parse reads a file's text. The error says what is wrong with it, in words for its author.
func parse(source []byte, kinds []string) (doc *document, err error) {
	defer notPanicking(&err)
	return parsed(source, kinds)
}

func parsed(source []byte, kinds []string) (*document, error) {
	source = bytes.TrimPrefix(source, []byte("\uFEFF")) // the mark that some editors put first
	if err := checkText(source); err != nil {
		return nil, err
	}
	// The same file has the same hash where git has written its lines with CR and LF.
	source = bytes.ReplaceAll(source, []byte("\r\n"), []byte("\n"))
	front, body, err := split(source)
	if err != nil {
		return nil, err
	}
	fields, err := decode(front)
	if err != nil {
		return nil, fmt.Errorf("front matter: %s", oneLine(err.Error()))
	}
	doc, err := fields.document(kinds)
	if err != nil {
		return nil, fmt.Errorf("front matter: %s", oneLine(err.Error()))
	}
	doc.body = string(body)
	doc.hash = doc.versionHash()
	return doc, nil
}

// checkText refuses what a text of Postgres cannot hold.
func checkText(source []byte) error {
	if i := bytes.IndexByte(source, 0); i >= 0 {
		return fmt.Errorf("byte %d is NUL, which no text holds", i)
	}
	if utf8.Valid(source) {
		return nil
	}
	for i := 0; i < len(source); {
		r, size := utf8.DecodeRune(source[i:])
		if r == utf8.RuneError && size == 1 {
			return fmt.Errorf("byte %d is not UTF-8; save the file in that encoding", i)
		}
		i += size
	}
	return nil
}

// split finds the front matter, with the line that opens it and without the one that
// closes it, and the Markdown behind. Goldmark reads the beginning of the file, and no more
// than front matter can have: the Markdown is stored as it was written, and what is nested
// in it a thousand times costs nothing.
func split(source []byte) (front, body []byte, err error) {
	first, rest, _ := bytes.Cut(source, []byte("\n"))
	if string(first) != "---" {
		return nil, nil, errors.New("no front matter: the first line must be ---")
	}
	var raw []byte
	format := frontmatter.YAML
	format.Unmarshal = func(data []byte, _ any) error { raw = data; return nil }
	pc := parser.NewContext()
	parser.NewParser(parser.WithBlockParsers(
		util.Prioritized(&frontmatter.Parser{Formats: []frontmatter.Format{format}}, 0),
		util.Prioritized(parser.NewParagraphParser(), 1),
	)).Parse(text.NewReader(source[:min(len(source), len("---\n")+frontMatterMax+len("---\n"))]), parser.WithContext(pc))
	data := frontmatter.Get(pc)
	if data == nil {
		return nil, nil, errors.New("no front matter: the first line must be ---, and so must the one that ends it")
	}
	if err := data.Decode(nil); err != nil {
		return nil, nil, err
	}
	if len(raw) > frontMatterMax {
		return nil, nil, fmt.Errorf("front matter: it has more than %d bytes, or the line --- is missing that ends it", frontMatterMax)
	}
	last, body, _ := bytes.Cut(rest[len(raw):], []byte("\n"))
	if string(last) != "---" {
		return nil, nil, errors.New("front matter: the line --- that ends it is missing")
	}
	return source[:len(first)+1+len(raw)], body, nil
}

// fields is the front matter.
type fields struct {
	Title       line     `yaml:"title"`
	Slug        line     `yaml:"slug"`
	PublishedAt date     `yaml:"published_at"`
	Kind        line     `yaml:"kind"`
	Author      line     `yaml:"author"`
	Description prose    `yaml:"description"`
	Keywords    keywords `yaml:"keywords"`
	Image       line     `yaml:"image"`
	Category    line     `yaml:"category"`
	Links       []link   `yaml:"links"`
	Tags        []line   `yaml:"tags"`

	Unknown map[string]yaml.Node `yaml:",inline"`
}

// decode reads YAML. Its first line is the file's, so that lines are counted as an editor
// does.
func decode(front []byte) (*fields, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(front))
	var root yaml.Node
	if err := decoder.Decode(&root); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(root.Content) != 1 || root.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("it must hold fields, such as a title")
	}
	var f fields
	if err := root.Decode(&f); err != nil {
		return nil, err
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.New("it must be one YAML document")
	}
	return &f, nil
}

// document checks the fields, all of them.
func (f *fields) document(kinds []string) (*document, error) {
	var errs []error
	for _, field := range []struct {
		name, value string
	}{
		{"title", string(f.Title)},
		{"slug", string(f.Slug)},
		{"published_at", string(f.PublishedAt)},
		{"kind", string(f.Kind)},
		{"author", string(f.Author)},
	} {
		if field.value == "" {
			errs = append(errs, fmt.Errorf("%s is missing", field.name))
		}
	}
	if f.Slug != "" && !slugRE.MatchString(string(f.Slug)) {
		errs = append(errs, fmt.Errorf("slug is %q, may hold the letters a to z, digits and dashes", abridged(string(f.Slug))))
	}
	if len(f.Slug) > slugMax {
		errs = append(errs, fmt.Errorf("slug has %d characters, at most %d are allowed", len(f.Slug), slugMax))
	}
	if f.Kind != "" && !slices.Contains(kinds, string(f.Kind)) {
		errs = append(errs, fmt.Errorf("kind is %q, must be one of the source's: %s", abridged(string(f.Kind)), strings.Join(kinds, ", ")))
	}
	published, err := f.PublishedAt.time()
	if err != nil {
		errs = append(errs, err)
	}
	for i, l := range f.Links {
		if l.Title == "" || l.URL == "" {
			errs = append(errs, fmt.Errorf("links[%d] must have a title and a url", i))
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	unknown := make([]string, 0, len(f.Unknown))
	for name := range f.Unknown {
		unknown = append(unknown, name)
	}
	slices.Sort(unknown)
	return &document{
		slug: string(f.Slug), title: string(f.Title), description: string(f.Description), author: string(f.Author),
		keywords: string(f.Keywords), kind: string(f.Kind), image: string(f.Image), category: string(f.Category),
		published: published, links: f.Links, unknown: unknown,
	}, nil
}

// versionHash is SHA-256 over title, body, description, author and date. Each is preceded
// by its length, so that no text that moves from one to the next leaves the hash as it was.
func (d *document) versionHash() string {
	hash := sha256.New()
	for _, part := range []string{d.title, d.body, d.description, d.author, d.published.Format(time.DateOnly)} {
		_ = binary.Write(hash, binary.BigEndian, uint64(len(part))) // a hash takes everything
		_, _ = io.WriteString(hash, part)
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// line is a text of one line. YAML's numbers, booleans and dates are none: whoever means a
// text puts quotes around it.
type line string

// UnmarshalYAML implements yaml.Unmarshaler.
func (l *line) UnmarshalYAML(node *yaml.Node) error {
	value, err := textOf(node)
	if err == nil {
		err = checkLine(value)
	}
	if err != nil {
		return fmt.Errorf("line %d: %w", node.Line, err)
	}
	*l = line(value)
	return nil
}

// prose is a text that may have several lines.
type prose string

// UnmarshalYAML implements yaml.Unmarshaler.
func (p *prose) UnmarshalYAML(node *yaml.Node) error {
	value, err := textOf(node)
	if err != nil {
		return fmt.Errorf("line %d: %w", node.Line, err)
	}
	*p = prose(value)
	return nil
}

// keywords is a text, or a list of words.
type keywords string

// UnmarshalYAML implements yaml.Unmarshaler.
func (k *keywords) UnmarshalYAML(node *yaml.Node) error {
	var words []line
	if node.Kind != yaml.SequenceNode {
		words = make([]line, 1)
		if err := words[0].UnmarshalYAML(node); err != nil {
			return err
		}
	} else if err := node.Decode(&words); err != nil {
		return err
	}
	texts := make([]string, 0, len(words))
	for _, word := range words {
		texts = append(texts, string(word))
	}
	*k = keywords(strings.Join(texts, ", "))
	return nil
}

// date is a day as it is written.
type date string

// UnmarshalYAML implements yaml.Unmarshaler. A day without quotes is a time to YAML.
func (d *date) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind != yaml.ScalarNode || (node.ShortTag() != "!!str" && node.ShortTag() != "!!timestamp") {
		return fmt.Errorf("line %d: must be a day such as 2026-01-31, not %s", node.Line, described(node))
	}
	*d = date(node.Value)
	return nil
}

func (d date) time() (time.Time, error) {
	if d == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.DateOnly, string(d))
	if err != nil || t.Year() < 1 {
		return time.Time{}, fmt.Errorf("published_at is %q, must be a day that exists, such as 2026-01-31", abridged(string(d)))
	}
	return t, nil
}

func textOf(node *yaml.Node) (string, error) {
	if node.Kind != yaml.ScalarNode || node.ShortTag() != "!!str" {
		return "", fmt.Errorf("must be a text, not %s; a text that looks like something else needs quotes", described(node))
	}
	value := strings.TrimSpace(node.Value)
	if strings.ContainsRune(value, 0) || !utf8.ValidString(value) {
		return "", errors.New("holds a character that no text holds")
	}
	return value, nil
}

// checkLine says whether a text is one line.
func checkLine(value string) error {
	if strings.ContainsFunc(value, unicode.IsControl) || !utf8.ValidString(value) {
		return errors.New("must be one line, without control characters")
	}
	return nil
}

// described is a YAML node, for an error.
func described(node *yaml.Node) string {
	switch node.Kind {
	case yaml.SequenceNode:
		return "a list"
	case yaml.MappingNode:
		return "fields"
	case yaml.ScalarNode, yaml.AliasNode, yaml.DocumentNode:
	}
	name, ok := map[string]string{"!!int": "the number", "!!float": "the number", "!!bool": "the boolean", "!!timestamp": "the time"}[node.ShortTag()]
	if !ok {
		name = "the value"
	}
	return fmt.Sprintf("%s %q", name, abridged(node.Value))
}
