package browser

import (
	"bytes"
	"context"
	"image"
	"image/color"
	"image/png"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"kustospool/engine"
	"kustospool/statushttp"
)

// docsImages is where the pictures of docs/page.md are.
const docsImages = "../../../docs/images"

// maxPicture bounds the file of a picture, in bytes.
const maxPicture = 200 << 10

// picture is what the tab shows of the page from its top on, at most so many points
// high, as a PNG.
func (b *tab) picture(width, most float64) []byte {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	height := min(most, ask[float64](b, `document.documentElement.scrollHeight`))
	shot, err := chromedp.Call(ctx, page.CaptureScreenshot, page.CaptureScreenshotParams{
		Clip: &page.Viewport{Width: width, Height: height, Scale: 1}, CaptureBeyondViewport: new(true),
	})
	if err != nil {
		b.fatalf("%v", err)
	}
	return shot.Data
}

// small makes the file of a picture small: its 256 most frequent colors remain.
func small(data []byte) ([]byte, error) {
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	r, count := img.Bounds(), map[color.Color]int{}
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			count[img.At(x, y)]++
		}
	}
	colors := slices.SortedFunc(maps.Keys(count), func(a, b color.Color) int { return count[b] - count[a] })
	few := image.NewPaletted(r, colors[:min(len(colors), 256)])
	nearest := make(map[color.Color]uint8, len(colors))
	for _, c := range colors {
		nearest[c] = uint8(few.Palette.Index(c))
	}
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			few.SetColorIndex(x, y, nearest[img.At(x, y)])
		}
	}
	var out bytes.Buffer
	err = (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, few)
	return out.Bytes(), err
}

// blank says what is wrong with a picture: not as wide as the screen, or hardly anything on it.
func blank(data []byte, width int) string {
	img, err := png.Decode(bytes.NewReader(data))
	switch {
	case err != nil:
		return err.Error()
	case img.Bounds().Dx() != width:
		return "it is not as wide as the screen: " + img.Bounds().String()
	case img.Bounds().Dy() < width/2:
		return "it is too low: " + img.Bounds().String()
	case marks(img) < 0.01:
		return "it is blank"
	}
	return ""
}

// marks is the share of a picture's points that have another color than the one to their left.
func marks(img image.Image) float64 {
	r, n := img.Bounds(), 0
	for y := r.Min.Y; y < r.Max.Y; y++ {
		var left color.Color
		for x := r.Min.X; x < r.Max.X; x++ {
			at := img.At(x, y)
			if left != nil && at != left {
				n++
			}
			left = at
		}
	}
	return float64(n) / float64(r.Dx()*r.Dy())
}

// The page in the middle of an outage, as docs/page.md shows it: a while of health, then
// the service is gone while two tables go on, another is paused, and a dead letter waits.
func TestPictures(t *testing.T) {
	update := os.Getenv("UPDATE_SCREENSHOTS") != ""
	s := start(t, statushttp.Options{Title: "Vessel 7"}, "Telemetry", "Events", "Audit")
	dead, mend := s.kill(t, "Events", `{"at":"2026-11-27T10:15:00Z","level":"loud"}`, "Column 'level' is of type int, the value is text")
	mend()
	watcher := open(t, s.url)
	watcher.load("/")
	watcher.until(there(row(dead)))
	if _, err := s.spool.Pause(engine.TableName{Database: database, Table: "Audit"}, "its schema is being changed"); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if _, err := s.ingest(t.Context(), "Audit", `{"who":"mate","did":"look"}`); err != nil {
			t.Fatal(err)
		}
	}
	lived := 500 * time.Millisecond
	if update {
		lived = 20 * time.Second
	}
	s.produce(t, "Telemetry")
	s.produce(t, "Events")
	acked := s.spool.Stats().Acked
	healthy := int64(lived / (5 * time.Millisecond))
	watcher.waits(func() bool { return int64(s.spool.Stats().Acked-acked) >= healthy })
	t.Cleanup(s.down())
	watcher.waits(func() bool { return int64(s.spool.Stats().Acked-acked) >= 3*healthy })
	watcher.until(trouble + " && " + records + " > 40")

	for _, shot := range []struct {
		name          string
		width, height int64 // of the picture: the page goes on below it
		phone         bool
		media         []string
		vision        emulation.SetEmulatedVisionDeficiencyType
	}{
		{"page-desktop.png", 1280, 2700, false, []string{"prefers-color-scheme", "light"}, emulation.SetEmulatedVisionDeficiencyTypeNone},
		{"page-desktop-dark.png", 1280, 2700, false, []string{"prefers-color-scheme", "dark"}, emulation.SetEmulatedVisionDeficiencyTypeNone},
		{"page-phone.png", 390, 1688, true, []string{"prefers-color-scheme", "light"}, emulation.SetEmulatedVisionDeficiencyTypeNone},
		{"page-phone-dark.png", 390, 1688, true, []string{"prefers-color-scheme", "dark"}, emulation.SetEmulatedVisionDeficiencyTypeNone},
		// For the eye alone: does it read without colors, and in those of the reader.
		{"eye-forced.png", 1280, 2700, false, []string{"forced-colors", "active"}, emulation.SetEmulatedVisionDeficiencyTypeNone},
		{"eye-grey.png", 1280, 2700, false, []string{"prefers-color-scheme", "light"}, emulation.SetEmulatedVisionDeficiencyTypeAchromatopsia},
	} {
		b := open(t, s.url)
		if shot.vision != emulation.SetEmulatedVisionDeficiencyTypeNone {
			b = watched(t, s.url) // the browser has a filter of its own for that, by an address of data
		}
		b.size(shot.width, min(shot.height, 844), shot.phone)
		b.media(shot.media...)
		b.do(command(emulation.SetEmulatedVisionDeficiency, emulation.SetEmulatedVisionDeficiencyParams{Type: shot.vision}))
		b.load("/")
		b.until(isLive + " && " + trouble + " && " + there(row(dead)))
		data := b.picture(float64(shot.width), float64(shot.height))
		if wrong := blank(data, int(shot.width)); wrong != "" {
			t.Errorf("%s: %s", shot.name, wrong)
		}
		dir := t.ArtifactDir()
		if update && strings.HasPrefix(shot.name, "page-") {
			dir = docsImages
			var err error
			if data, err = small(data); err != nil || len(data) > maxPicture {
				t.Errorf("%s has %d bytes, at most %d; %v", shot.name, len(data), maxPicture, err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, shot.name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// The pictures in the docs are there, and no larger than they may be.
func TestPicturesOfDocs(t *testing.T) {
	for name, width := range map[string]int{"page-desktop.png": 1280, "page-desktop-dark.png": 1280, "page-phone.png": 390, "page-phone-dark.png": 390} {
		data, err := os.ReadFile(filepath.Join(docsImages, name))
		if err != nil {
			t.Error(err)
			continue
		}
		if wrong := blank(data, width); wrong != "" || len(data) > maxPicture {
			t.Errorf("%s, %d bytes: %s", name, len(data), wrong)
		}
	}
}

// The control: an empty page is blank, and one of another width is not what was asked for.
func TestBlank(t *testing.T) {
	b := open(t, serve(t, "", `<body>`))
	b.size(1280, 800, false)
	b.load("/")
	if wrong := blank(b.picture(1280, 800), 1280); wrong != "it is blank" {
		t.Errorf("of an empty page it is said: %q", wrong)
	}
	if wrong := blank(b.picture(1280, 800), 390); wrong == "" {
		t.Error("a picture of another width is taken")
	}
}
