package blog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
)

const (
	// fileMax is how many bytes a Markdown file may have.
	fileMax = 8 << 20
	// depthMax is how many folders may lie within each other.
	depthMax = 100
)

// errChanged: a file was written while it was read.
var errChanged = errors.New("it changed while it was read; the next run takes it")

// found is a file of a folder, or something that cannot be read.
type found struct {
	// path is relative to the folder, with slashes.
	path string
	// problem says why it cannot be read; nil if that is not known.
	problem error
}

// list lists the Markdown files of a folder, by path, and what is in the way of reading
// all. Hidden files and folders are left out. A symbolic link counts as the file that it
// leads to, if that is in the folder; one to a folder is not followed. The error is that
// of the folder itself.
func list(ctx context.Context, root *os.Root, recursive bool) ([]found, error) {
	var files []found
	err := fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if name == "." {
			return err
		}
		if err != nil {
			files = append(files, found{name, fmt.Errorf("the folder cannot be read: %w", bare(err))})
			return nil
		}
		if strings.HasPrefix(entry.Name(), ".") {
			return leaveOut(entry)
		}
		if entry.IsDir() {
			if !recursive {
				return fs.SkipDir
			}
			if strings.Count(name, "/") >= depthMax {
				files = append(files, found{name, fmt.Errorf("more than %d folders lie within each other; it is not read", depthMax)})
				return fs.SkipDir
			}
			return nil
		}
		if is, problem := isContent(root, name, entry, recursive); is {
			files = append(files, found{name, problem})
		}
		return nil
	})
	if err != nil {
		return nil, bare(err)
	}
	slices.SortFunc(files, func(a, b found) int { return strings.Compare(a.path, b.path) })
	return files, nil
}

func leaveOut(entry fs.DirEntry) error {
	if entry.IsDir() {
		return fs.SkipDir
	}
	return nil
}

// isContent says whether something in a folder is content, or should be.
func isContent(root *os.Root, name string, entry fs.DirEntry, recursive bool) (bool, error) {
	markdown := path.Ext(name) == ".md"
	mode := entry.Type()
	if mode&fs.ModeSymlink != 0 {
		info, err := root.Stat(name)
		switch {
		case err != nil: // without an ending, it may have been meant for a folder
			return markdown || recursive && path.Ext(name) == "", fmt.Errorf("a symbolic link that leads nowhere or out of the folder is not followed: %w", bare(err))
		case info.IsDir():
			return markdown || recursive, errors.New("a symbolic link to a folder is not followed")
		}
		mode = info.Mode().Type()
	}
	if mode != 0 {
		return markdown, fmt.Errorf("not a file but %s", kindOf(mode))
	}
	return markdown, nil
}

// reader reads files of a folder.
type reader struct {
	root *os.Root
	// max is how many bytes a file may have.
	max int64
	// readFunc, if not nil, is called when a file has been read, before it is looked at
	// once more.
	readFunc func(name string)
}

// read reads a file whole. It never leaves the folder, waits for no writer of a pipe, and
// takes no file that is being written: see [errChanged].
func (r reader) read(name string) ([]byte, error) {
	file, err := r.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, bare(err)
	}
	defer file.Close() //nolint:errcheck // it was only read
	before, err := file.Stat()
	if err != nil {
		return nil, bare(err)
	}
	if !before.Mode().IsRegular() {
		return nil, fmt.Errorf("not a file but %s", kindOf(before.Mode().Type()))
	}
	if before.Size() > r.max {
		return nil, fmt.Errorf("it has %d bytes, at most %d are read", before.Size(), r.max)
	}
	content, err := io.ReadAll(io.LimitReader(file, before.Size()+1))
	if err != nil {
		return nil, bare(err)
	}
	if r.readFunc != nil {
		r.readFunc(name)
	}
	after, err := file.Stat()
	if err != nil {
		return nil, bare(err)
	}
	named, err := r.root.Stat(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, bare(err)
	}
	if err != nil || !os.SameFile(before, named) || int64(len(content)) != before.Size() ||
		after.Size() != before.Size() || !after.ModTime().Equal(before.ModTime()) {
		return nil, errChanged
	}
	return content, nil
}

// bare is an error without the path, which whoever reports it names.
func bare(err error) error {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		return pathErr.Err
	}
	return err
}

func kindOf(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeDir != 0:
		return "a folder"
	case mode&fs.ModeNamedPipe != 0:
		return "a pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeDevice != 0:
		return "a device"
	}
	return "something else"
}
