package blog

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/image/webp"
)

// pathOf is the path, in the folder of images, of the file that an address means. The error
// says why there is none.
func (i Images) pathOf(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", errors.New("its address cannot be read")
	}
	if u.IsAbs() || u.Host != "" || u.Opaque != "" {
		return "", errors.New("its address is that of another server")
	}
	name, under := strings.CutPrefix(u.Path, i.Address)
	if !under {
		return "", fmt.Errorf("its address does not begin with %s", i.Address)
	}
	if !fs.ValidPath(name) || name == "." {
		return "", errors.New("its address means no file of the folder of images")
	}
	return name, nil
}

// addressOf is the address of a file in the folder of images.
func (i Images) addressOf(name string) string {
	return (&url.URL{Path: i.Address + name}).EscapedPath()
}

// stemMax is how much of an image's name is in that of its optimized file: file systems
// have names of 255 bytes at most, and the temporary file has a longer one.
const stemMax = 150

// optimizedName is the name of the file that is made of an image. It lies beside the image
// and is named after its content and how that is converted: whoever makes it makes the
// same, and no other file has the name.
func (c conversion) optimizedName(name string, content []byte) string {
	hash := sha256.New()
	_, _ = fmt.Fprintf(hash, "webp %d %d\n", c.edge, c.quality) // a hash takes everything
	_, _ = hash.Write(content)
	stem := strings.TrimSuffix(path.Base(name), path.Ext(name))
	if len(stem) > stemMax {
		stem = strings.ToValidUTF8(stem[:stemMax], "")
	}
	return path.Join(path.Dir(name), stem+"-"+hex.EncodeToString(hash.Sum(nil))[:16]+".webp")
}

// sizeOf is the size of the file that would be made, if it is there.
func sizeOf(root *os.Root, name string) (int64, bool) {
	content, err := reader{root: root, max: imageMax}.read(name)
	if err != nil {
		return 0, false
	}
	_, err = webp.DecodeConfig(bytes.NewReader(content))
	return int64(len(content)), err == nil
}

// put writes a file so that it is there whole, also after the machine has lost its power,
// or not at all.
func put(root *os.Root, name string, content []byte) (err error) {
	if err := tidy(root, name); err != nil {
		return fmt.Errorf("write beside the image: %w", err)
	}
	temporary := path.Join(path.Dir(name), "."+path.Base(name)+"."+rand.Text()+".tmp")
	file, err := root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("write beside the image: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, root.Remove(temporary))
		}
	}()
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("write beside the image: %w", err)
	}
	if err := root.Rename(temporary, name); err != nil {
		return fmt.Errorf("write beside the image: %w", err)
	}
	folder, err := root.Open(path.Dir(name))
	if err != nil {
		return fmt.Errorf("write beside the image: %w", err)
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// leftoverAge is how old a temporary file is when whoever wrote it has certainly ended.
const leftoverAge = time.Hour

// tidy removes what others have left that ended while they wrote the same file.
func tidy(root *os.Root, name string) error {
	folder, err := root.Open(path.Dir(name))
	if err != nil {
		return err
	}
	entries, err := folder.ReadDir(-1)
	if err = errors.Join(err, folder.Close()); err != nil {
		return err
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), "."+path.Base(name)+".") || path.Ext(entry.Name()) != ".tmp" {
			continue
		}
		info, err := entry.Info()
		if err == nil && time.Since(info.ModTime()) > leftoverAge {
			err = root.Remove(path.Join(path.Dir(name), entry.Name()))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
