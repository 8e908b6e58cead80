package blog

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"math"
	"math/rand/v2"
	"testing"

	encoder "github.com/gen2brain/webp"
	"github.com/stretchr/testify/require"
	"golang.org/x/image/webp"
)

// picture is one whose left upper quarter is red, on soft blue.
func picture(width, height int) *image.NRGBA {
	p := image.NewNRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			c := color.NRGBA{R: uint8(30 * math.Abs(math.Sin(float64(x)/9))), G: uint8(40 * math.Abs(math.Cos(float64(y)/7))), B: 200, A: 255}
			if x < width/2 && y < height/2 {
				c = color.NRGBA{R: 220, A: 255}
			}
			p.SetNRGBA(x, y, c)
		}
	}
	return p
}

// photo is a picture with noise, as photos have it: PNG makes a large file of it.
func photo(width, height int) *image.NRGBA {
	p := picture(width, height)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range p.Pix {
		if i%4 != 3 {
			p.Pix[i] = min(p.Pix[i], 235) + uint8(random.IntN(20))
		}
	}
	return p
}

func pngOf(t *testing.T, p image.Image) []byte {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, png.Encode(&out, p))
	return out.Bytes()
}

func jpegOf(t *testing.T, p image.Image) []byte {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, jpeg.Encode(&out, p, &jpeg.Options{Quality: 95}))
	return out.Bytes()
}

func gifOf(t *testing.T, frames int) []byte {
	t.Helper()
	all := &gif.GIF{}
	for i := range frames {
		frame := image.NewPaletted(image.Rect(0, 0, 40, 20), color.Palette{color.Black, color.White})
		frame.SetColorIndex(i, 1, 1)
		all.Image, all.Delay = append(all.Image, frame), append(all.Delay, 10)
	}
	var out bytes.Buffer
	require.NoError(t, gif.EncodeAll(&out, all))
	return out.Bytes()
}

// held is a JPEG that says how the camera was held: an EXIF segment behind its start.
func held(t *testing.T, orientation uint16, p image.Image) []byte {
	t.Helper()
	exif := []byte("Exif\x00\x00MM\x00\x2a\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00")
	binary.BigEndian.PutUint16(exif[24:], orientation)
	plain := jpegOf(t, p)
	segment := append([]byte{0xff, 0xd8, 0xff, 0xe1, 0, byte(len(exif) + 2)}, exif...)
	return append(segment, plain[2:]...)
}

// pngChunk is a chunk as PNG frames it.
func pngChunk(name string, data []byte) []byte {
	chunk := binary.BigEndian.AppendUint32(nil, uint32(len(data)))
	chunk = append(append(chunk, name...), data...)
	return binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE(chunk[4:]))
}

func isRed(p image.Image, x, y int) bool {
	r, g, b, _ := p.At(x, y).RGBA()
	return r > 0x8000 && g < 0x6000 && b < 0x6000
}

func TestConvert(t *testing.T) {
	t.Parallel()
	c := conversion{edge: 100, quality: 80}
	var asWebP bytes.Buffer
	require.NoError(t, encoder.Encode(&asWebP, picture(200, 100), encoder.Options{Quality: 95}))
	for name, content := range map[string][]byte{
		"png": pngOf(t, picture(200, 100)), "jpeg": jpegOf(t, picture(200, 100)), "webp": asWebP.Bytes(), "camera": held(t, 1, picture(200, 100)),
	} {
		out, err := c.convert(content)
		require.NoError(t, err, name)
		p, err := webp.Decode(bytes.NewReader(out))
		require.NoError(t, err, name)
		require.Equal(t, image.Pt(100, 50), p.Bounds().Size(), name)
		require.True(t, isRed(p, 10, 10), name)
		require.False(t, isRed(p, 90, 10), name)
		again, err := c.convert(content)
		require.NoError(t, err, name)
		require.Equal(t, out, again, "the same image gives the same file")
	}
	out, err := c.convert(gifOf(t, 1))
	require.NoError(t, err)
	config, err := webp.DecodeConfig(bytes.NewReader(out))
	require.NoError(t, err)
	require.Equal(t, 40, config.Width, "a small image stays as large as it is")

	window := picture(20, 20)
	window.SetNRGBA(15, 15, color.NRGBA{})
	out, err = c.convert(pngOf(t, window))
	require.NoError(t, err)
	p, err := webp.Decode(bytes.NewReader(out))
	require.NoError(t, err)
	require.Zero(t, color.NRGBAModel.Convert(p.At(15, 15)).(color.NRGBA).A)
}

// Which corner is red when an image is shown as it was taken.
func TestConvert_upright(t *testing.T) {
	t.Parallel()
	c := conversion{edge: 1000, quality: 90}
	const left, right, top, bottom = 4, 4, 4, 4
	for orientation, want := range map[uint16]struct {
		width, height int
		right, bottom bool
	}{
		1: {80, 40, false, false}, 2: {80, 40, true, false}, 3: {80, 40, true, true}, 4: {80, 40, false, true},
		5: {40, 80, false, false}, 6: {40, 80, true, false}, 7: {40, 80, true, true}, 8: {40, 80, false, true},
	} {
		out, err := c.convert(held(t, orientation, picture(80, 40)))
		require.NoError(t, err)
		p, err := webp.Decode(bytes.NewReader(out))
		require.NoError(t, err)
		require.Equal(t, image.Pt(want.width, want.height), p.Bounds().Size(), orientation)
		x, y := left, top
		if want.right {
			x = want.width - 1 - right
		}
		if want.bottom {
			y = want.height - 1 - bottom
		}
		require.True(t, isRed(p, x, y), "orientation %d", orientation)
		require.False(t, isRed(p, want.width-1-x, want.height-1-y), "orientation %d", orientation)
	}
}

func TestConvert_refusals(t *testing.T) {
	t.Parallel()
	c := conversion{edge: 100, quality: 80}
	whole := pngOf(t, picture(200, 100))
	claiming := func(width, height uint32) []byte {
		header := append(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, width), height), 8, 6, 0, 0, 0)
		return append([]byte("\x89PNG\r\n\x1a\n"), pngChunk("IHDR", header)...)
	}
	moving := append(append(append([]byte{}, whole[:33]...), pngChunk("acTL", make([]byte, 8))...), whole[33:]...)
	for name, test := range map[string]struct {
		content []byte
		want    string
	}{
		"a bomb":       {claiming(60_000, 60_000), "it has 60000 × 60000 pixels, at most 50000000 are read"},
		"a high line":  {claiming(1, 50_000_000), "it has 1 × 50000000 pixels, at most 65535 of a side are read"},
		"a long line":  {claiming(50_000_000, 1), "at most 65535 of a side are read"},
		"half a file":  {whole[:len(whole)/2], "it cannot be read as image/png"},
		"a text":       {[]byte("hello"), "it is no JPEG, PNG, GIF or WebP but text/plain"},
		"SVG":          {[]byte("<svg xmlns='http://www.w3.org/2000/svg'/>"), "it is no JPEG"},
		"nothing":      {nil, "it is no JPEG"},
		"a moving GIF": {gifOf(t, 3), errMoving.Error()},
		"a moving PNG": {moving, errMoving.Error()},
	} {
		_, err := c.convert(test.content)
		require.ErrorContains(t, err, test.want, name)
	}
}

func TestPathOf(t *testing.T) {
	t.Parallel()
	images := Images{Folder: "x", Address: "/images/"}
	for address, want := range map[string]string{
		"/images/a.png": "a.png", "/images/2026/a%20b.png?v=2": "2026/a b.png", "/images/%C3%A4.png": "ä.png",
	} {
		name, err := images.pathOf(address)
		require.NoError(t, err, address)
		require.Equal(t, want, name)
	}
	for address, want := range map[string]string{
		"https://example.com/images/a.png": "another server", "//example.com/images/a.png": "another server", "data:image/png;base64,xx": "another server",
		"/other/a.png": "does not begin with", "images/a.png": "does not begin with", "/images/../secret.png": "no file", "/images/%2e%2e/secret.png": "no file",
		"/images/": "no file", "/images//etc/passwd": "no file", "/images/a/": "no file", ":": "cannot be read", "/images/%zz": "cannot be read",
	} {
		_, err := images.pathOf(address)
		require.ErrorContains(t, err, want, address)
	}
	require.Equal(t, "/images/a%20b%3F.webp", images.addressOf("a b?.webp"))
	back, err := images.pathOf(images.addressOf("a b?#%.webp"))
	require.NoError(t, err)
	require.Equal(t, "a b?#%.webp", back)
}
