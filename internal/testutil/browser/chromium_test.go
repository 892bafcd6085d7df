package browser

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"go.uber.org/goleak"
)

// chromium is the one browser of all tests, started by the first that wants it.
var chromium browser

func TestMain(m *testing.M) {
	code := m.Run()
	if err := chromium.close(); err != nil {
		fmt.Fprintln(os.Stderr, "the browser does not end well:", err)
		code = cmp.Or(code, 1)
	}
	http.DefaultClient.CloseIdleConnections()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// browser is a Chromium and what it may use.
type browser struct {
	once    sync.Once
	err     error // why there is none
	ctx     context.Context
	free    context.CancelFunc
	profile string
	fence   *fence
}

var errNoBrowser = errors.New("no browser: neither what CHROMIUM names nor chromium, chromium-browser or google-chrome can be run")

// find is the path of the browser.
func find() (string, error) {
	for _, name := range []string{os.Getenv("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errNoBrowser
}

func (b *browser) start() {
	path, err := find()
	if err != nil {
		b.err = err
		return
	}
	if b.profile, b.err = os.MkdirTemp("", "kustospool-browser-"); b.err != nil {
		return
	}
	b.fence = newFence()
	// Chromium needs no sandbox only as root; chromedp turns it off for root by itself.
	options := slices.Concat(chromedp.DefaultExecAllocatorOptions[:], []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path), chromedp.UserDataDir(b.profile), chromedp.DisableGPU,
		chromedp.ProxyServer(b.fence.URL), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"),
		chromedp.Flag("disable-domain-reliability", true), chromedp.Flag("no-pings", true),
		// Scrollbars over the page, as a phone has them, would hide that it is too wide.
		chromedp.Flag("disable-features", "Translate,OptimizationHints,MediaRouter,OverlayScrollbar,HttpsUpgrades"),
		chromedp.CombinedOutput(io.Discard),
	})
	allocator, free := chromedp.NewExecAllocator(context.Background(), options...)
	b.free = free
	b.ctx, _ = chromedp.NewContext(allocator)
	b.err = chromedp.Do(b.ctx)
}

// context is one in which tabs are opened; the test is skipped without a browser.
func (b *browser) context(t *testing.T) context.Context {
	t.Helper()
	b.once.Do(b.start)
	switch {
	case errors.Is(b.err, errNoBrowser) && os.Getenv("CI") == "":
		t.Skip(b.err)
	case b.err != nil:
		t.Fatal(b.err)
	}
	return b.ctx
}

func (b *browser) close() error {
	var err error
	if b.free != nil {
		ctx, cancel := context.WithTimeout(b.ctx, 10*time.Second)
		err = chromedp.Cancel(ctx)
		cancel()
		b.free()
	}
	if b.fence != nil {
		b.fence.Close()
	}
	if b.profile != "" {
		err = errors.Join(err, os.RemoveAll(b.profile))
	}
	return err
}

// fence is the proxy for whatever is not on this machine. It refuses, and remembers whom
// it was asked for.
type fence struct {
	*httptest.Server
	mu    sync.Mutex // guards asked
	asked []string
}

func newFence() *fence {
	f := new(fence)
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.asked = append(f.asked, r.Host)
		f.mu.Unlock()
		w.WriteHeader(http.StatusForbidden)
	}))
	return f
}

// hosts are those that the fence was asked for.
func (f *fence) hosts() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.asked)
}
