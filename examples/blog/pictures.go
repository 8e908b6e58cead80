package blog

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"net/http"

	"github.com/bep/imagemeta"
	encoder "github.com/gen2brain/webp"
	"golang.org/x/image/draw"
	"golang.org/x/image/webp"
)

const (
	// imageMax is how many bytes the file of an image may have.
	imageMax = 64 << 20
	// pixelsMax is how many pixels an image may have: a small file can claim to be huge.
	pixelsMax = 50_000_000
	// sideMax is how long a side may be, which no JPEG exceeds either. Making smaller what
	// is a pixel wide and millions high takes gigabytes, whatever the number of pixels.
	sideMax = 65_535
)

// errMoving: an image that moves would stand still.
var errMoving = errors.New("it moves, and would stand still")

// conversion is how images are converted.
type conversion struct {
	// edge is the longest edge that an image may have; larger ones are made smaller.
	edge int
	// quality is that of WebP, 1 to 100.
	quality int
}

// format is one that is read.
type format struct {
	config func(io.Reader) (image.Config, error)
	decode func(io.Reader) (image.Image, error)
}

// formatOf finds the format by the content; a file's name may lie.
func formatOf(content []byte) (string, format, error) {
	name := http.DetectContentType(content)
	f, ok := map[string]format{
		"image/jpeg": {jpeg.DecodeConfig, jpeg.Decode},
		"image/png":  {png.DecodeConfig, png.Decode},
		"image/gif":  {gif.DecodeConfig, gif.Decode},
		"image/webp": {webp.DecodeConfig, webp.Decode},
	}[name]
	if !ok {
		return name, f, fmt.Errorf("it is no JPEG, PNG, GIF or WebP but %s", name)
	}
	return name, f, nil
}

// convert makes WebP of an image, upright and not larger than allowed. What an image says
// beside its pixels, such as where it was taken, is not taken along.
func (c conversion) convert(content []byte) (out []byte, err error) {
	defer notPanicking(&err)
	return c.converted(content)
}

func (c conversion) converted(content []byte) ([]byte, error) {
	name, format, err := formatOf(content)
	if err != nil {
		return nil, err
	}
	config, err := format.config(bytes.NewReader(content))
	if err != nil {
		return nil, fmt.Errorf("it cannot be read as %s: %w", name, err)
	}
	if config.Width < 1 || config.Height < 1 || config.Width > pixelsMax/config.Height {
		return nil, fmt.Errorf("it has %d × %d pixels, at most %d are read", config.Width, config.Height, pixelsMax)
	}
	if max(config.Width, config.Height) > sideMax {
		return nil, fmt.Errorf("it has %d × %d pixels, at most %d of a side are read", config.Width, config.Height, sideMax)
	}
	if name == "image/png" && isAnimatedPNG(content) {
		return nil, errMoving
	}
	reader := bytes.NewReader(content)
	picture, err := format.decode(reader)
	if err != nil {
		return nil, fmt.Errorf("it cannot be read as %s: %w", name, err)
	}
	// The decoder of GIF stops behind the first picture. Behind the last is the trailer.
	if next, err := reader.ReadByte(); name == "image/gif" && err == nil && next != ';' {
		return nil, errMoving
	}
	picture = upright(c.fit(picture), orientation(name, content))
	var out bytes.Buffer
	if err := encoder.Encode(&out, picture, encoder.Options{Quality: c.quality, Method: encoder.DefaultMethod}); err != nil {
		return nil, fmt.Errorf("make WebP of it: %w", err)
	}
	return out.Bytes(), nil
}

// isAnimatedPNG: the chunk acTL, before the first with pixels, makes a PNG move. The
// decoder gives the first picture alone.
func isAnimatedPNG(content []byte) bool {
	before, _, _ := bytes.Cut(content, []byte("IDAT"))
	return bytes.Contains(before, []byte("acTL"))
}

// fit makes an image smaller whose longest edge is too long.
func (c conversion) fit(picture image.Image) image.Image {
	bounds := picture.Bounds()
	width, height := bounds.Dx(), bounds.Dy()
	if max(width, height) <= c.edge {
		return picture
	}
	scale := float64(c.edge) / float64(max(width, height))
	smaller := image.NewNRGBA(image.Rect(0, 0, max(int(float64(width)*scale), 1), max(int(float64(height)*scale), 1)))
	draw.CatmullRom.Scale(smaller, smaller.Bounds(), picture, bounds, draw.Src, nil)
	return smaller
}

// orientation is how a camera was held, as EXIF counts it: 1 is upright, and what is said
// of an image that does not tell.
func orientation(name string, content []byte) int {
	formats := map[string]imagemeta.ImageFormat{"image/jpeg": imagemeta.JPEG, "image/png": imagemeta.PNG, "image/webp": imagemeta.WebP}
	f, ok := formats[name]
	if !ok {
		return 1
	}
	held := 1
	_, err := imagemeta.Decode(imagemeta.Options{
		R: bytes.NewReader(content), ImageFormat: f, Sources: imagemeta.EXIF,
		ShouldHandleTag: func(tag imagemeta.TagInfo) bool { return tag.Tag == "Orientation" && tag.Namespace == "IFD0" },
		HandleTag: func(tag imagemeta.TagInfo) error {
			if value, ok := tag.Value.(uint16); ok && value >= 1 && value <= 8 {
				held = int(value)
			}
			return nil
		},
	})
	if err != nil {
		return 1 // what cannot be read says nothing
	}
	return held
}

// upright turns and mirrors an image as its orientation says.
func upright(picture image.Image, held int) image.Image {
	if held == 1 {
		return picture
	}
	bounds := picture.Bounds()
	width, height := bounds.Dx(), bounds.Dy()
	if held >= 5 {
		width, height = height, width
	}
	turned := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			fromX, fromY := x, y
			if held >= 5 {
				fromX, fromY = y, x
			}
			// After a mirroring along the diagonal, 6 and 8 are quarter turns.
			if held == 2 || held == 3 || held == 7 || held == 8 {
				fromX = bounds.Dx() - 1 - fromX
			}
			if held == 3 || held == 4 || held == 6 || held == 7 {
				fromY = bounds.Dy() - 1 - fromY
			}
			turned.Set(x, y, picture.At(bounds.Min.X+fromX, bounds.Min.Y+fromY))
		}
	}
	return turned
}
