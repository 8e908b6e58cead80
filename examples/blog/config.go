package blog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Kinds are the kinds of content that the platform knows.
func Kinds() []string { return []string{"article", "guide", "paper", "tutorial"} }

// Config says what the jobs of this package work on. The zero value has no sources and no
// images; a run of either job then fails and says so. [Load] reads one from a file; a
// program may as well write it down.
type Config struct {
	// Sources are the folders of content, in the order in which they are read.
	Sources []Source `yaml:"sources"`

	// Images says where the files of images are.
	Images Images `yaml:"images"`
}

// Source is a folder with Markdown files.
type Source struct {
	// Name identifies the source in the record of a run. Required, unique, and without a slash.
	Name string `yaml:"name"`

	// Path is the folder. [Load] reads it as relative to its file. Required.
	Path string `yaml:"path"`

	// SourceID is what the rows of this source have in source_id. Required. Sources may
	// share one; two files with the same slug are still an error of the second.
	SourceID string `yaml:"source_id"`

	// CategoryID is the category of a file that names none. It is written where the
	// table has a column category_id. Optional.
	CategoryID string `yaml:"category_id"`

	// Enabled reads the source, or leaves it out. Nil means true.
	Enabled *bool `yaml:"enabled"`

	// AllowedKinds are the kinds that its files may have. Empty means all of [Kinds].
	AllowedKinds []string `yaml:"allowed_kinds"`

	// Recursive reads the folders in it, too, except hidden ones. The zero value reads the
	// folder alone.
	Recursive bool `yaml:"recursive"`

	// OverrideExisting updates rows that exist and differ. The zero value only inserts.
	OverrideExisting bool `yaml:"override_existing"`
}

// Images says where the files of images are.
type Images struct {
	// Folder is where they are. [Load] reads it as relative to its file. Empty means that
	// there are none.
	Folder string `yaml:"folder"`

	// Address is what their addresses in markdown_content begin with, such as "/images/":
	// the rest is the path in Folder. Required with Folder; begins and ends with a slash.
	Address string `yaml:"address"`
}

// Load reads a configuration file. An unknown field, a value that is not allowed and a
// field that is missing are errors that name the file. Whether the folders exist is found
// out by the runs: they may be mounted later. An empty path gives the zero Config.
func Load(path string) (Config, error) {
	var config Config
	if path == "" {
		return config, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return config, fmt.Errorf("read the blog's configuration: %w", err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&config); err != nil && !errors.Is(err, io.EOF) {
		return Config{}, fmt.Errorf("read the blog's configuration %s: %s", path, oneLine(err.Error()))
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return Config{}, fmt.Errorf("read the blog's configuration %s: it holds more than one document; keep one", path)
	}
	folder := filepath.Dir(path)
	for i := range config.Sources {
		config.Sources[i].Path = from(folder, config.Sources[i].Path)
	}
	config.Images.Folder = from(folder, config.Images.Folder)
	if err := config.Check(); err != nil {
		return Config{}, fmt.Errorf("the blog's configuration %s: %w", path, err)
	}
	return config, nil
}

func from(folder, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(folder, path)
}

// Check says what is wrong with a configuration, all of it; nil if nothing is. The jobs
// call it, so that a program that writes its Config down need not.
func (c Config) Check() error {
	var errs []error
	seen := make(map[string]bool, len(c.Sources))
	for i, source := range c.Sources {
		if source.Name == "" {
			errs = append(errs, fmt.Errorf("sources[%d]: name is missing", i))
			continue
		}
		if seen[source.Name] {
			errs = append(errs, fmt.Errorf("source %q: the name is given twice; rename one of the two", source.Name))
		}
		seen[source.Name] = true
		if err := source.check(); err != nil {
			errs = append(errs, fmt.Errorf("source %q: %w", source.Name, err))
		}
	}
	address := c.Images.Address
	switch {
	case c.Images.Folder == "" && address != "":
		errs = append(errs, errors.New("images: folder is missing"))
	case c.Images.Folder != "" && (!strings.HasPrefix(address, "/") || !strings.HasSuffix(address, "/")):
		errs = append(errs, fmt.Errorf(`images: address is %q, must begin and end with a slash, such as "/images/"`, address))
	}
	return errors.Join(errs...)
}

func (s Source) check() error {
	var errs []error
	for _, field := range []struct{ name, value string }{{"name", s.Name}, {"source_id", s.SourceID}, {"category_id", s.CategoryID}} {
		if err := checkLine(field.value); err != nil {
			errs = append(errs, fmt.Errorf("%s %w", field.name, err))
		}
	}
	if strings.Contains(s.Name, "/") { // the record has files as name/path
		errs = append(errs, errors.New("name must have no slash"))
	}
	if s.Path == "" {
		errs = append(errs, errors.New("path is missing"))
	}
	if s.SourceID == "" {
		errs = append(errs, errors.New("source_id is missing"))
	}
	for _, kind := range s.AllowedKinds {
		if !slices.Contains(Kinds(), kind) {
			errs = append(errs, fmt.Errorf("allowed_kinds: %q is none; they are %s", kind, strings.Join(Kinds(), ", ")))
		}
	}
	return errors.Join(errs...)
}

func (s Source) isEnabled() bool { return s.Enabled == nil || *s.Enabled }

func (s Source) kinds() []string {
	if len(s.AllowedKinds) == 0 {
		return Kinds()
	}
	return s.AllowedKinds
}
