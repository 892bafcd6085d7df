package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// patience bounds what a tab is waited for, also where the machine has much else to do.
const patience = 30 * time.Second

// lookEvery is how often a tab is asked whether it shows what is waited for.
const lookEvery = 20 * time.Millisecond

// violation begins what the tab says on its console of what a policy forbade.
const violation = "forbidden by the policy: "

// watchPolicy turns what a Content-Security-Policy forbids into an error on the console.
const watchPolicy = `addEventListener("securitypolicyviolation", e =>
	console.error(` + "`" + violation + "${e.violatedDirective} ${e.blockedURI}`))"

// tab is one of the browser's, in a browser context of its own, so that tabs share no
// cookies. It keeps what it should not have seen.
type tab struct {
	t      *testing.T
	ctx    context.Context
	origin string
	plain  bool // JavaScript is off: what is new comes by reload

	mu      sync.Mutex // guards what follows
	trouble []string
	foreign []string       // requests to anything but origin
	dialogs sync.WaitGroup // a goroutine for each dialog, which closes it
}

// watched opens a tab for a page at origin. Nobody looks at what it keeps but the caller.
func watched(t *testing.T, origin string) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(chromium.context(t), chromedp.WithNewBrowserContext())
	b := &tab{t: t, ctx: ctx, origin: origin}
	t.Cleanup(func() {
		cancel()
		b.dialogs.Wait()
	})
	// This opens the tab, which lives as long as ctx.
	if err := chromedp.Listen(ctx, b.heard); err != nil {
		t.Fatal(err)
	}
	b.do(
		command(network.Enable, network.EnableParams{}), command(log.Enable, cdp.Empty{}),
		// A tab behind another one has the focus as well, and is drawn.
		command(emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true}),
		func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
			_, err := cdp.Call(ctx, target, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: watchPolicy})
			return chromedp.Void{}, err
		})
	return b
}

// open opens a tab that fails its test at the end if anything was amiss in it.
func open(t *testing.T, origin string) *tab {
	t.Helper()
	b := watched(t, origin)
	t.Cleanup(func() {
		if amiss := b.amiss(); len(amiss) > 0 {
			t.Errorf("the tab was not quiet:\n%s", strings.Join(amiss, "\n"))
		}
	})
	return b
}

// command is an action that runs a command of the protocol.
func command[P any](c cdp.Command[P, cdp.Empty], params P) chromedp.Action[chromedp.Void] {
	return func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, target, c, params)
		return chromedp.Void{}, err
	}
}

// heard keeps of an event what should not be there.
func (b *tab) heard(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			b.trouble = append(b.trouble, fmt.Sprintf("log %s: %s: %s %s", e.Entry.Level, e.Entry.Source, e.Entry.Text, e.Entry.URL))
		}
	case *runtime.EventExceptionThrown:
		b.trouble = append(b.trouble, "exception: "+e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning || e.Type == runtime.ConsoleAPICalledTypeAssert {
			text := fmt.Sprintf("console %s:", e.Type)
			for _, arg := range e.Args {
				text += fmt.Sprintf(" %s", arg.Value)
			}
			b.trouble = append(b.trouble, text)
		}
	case *network.EventRequestWillBeSent:
		if b.origin == "" || e.Request.URL != b.origin && !strings.HasPrefix(e.Request.URL, b.origin+"/") {
			b.foreign = append(b.foreign, "request: "+e.Request.URL)
		}
	case *page.EventJavascriptDialogOpening:
		b.trouble = append(b.trouble, "dialog: "+e.Message)
		b.dialogs.Go(func() {
			_, _ = chromedp.Call(b.ctx, page.HandleJavaScriptDialog, page.HandleJavaScriptDialogParams{})
		})
	}
}

// amiss is what the tab has kept, the foreign requests last.
func (b *tab) amiss() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Concat(b.trouble, b.foreign)
}

// forgive takes away what the tab has kept with one of these texts, which a test has
// brought about.
func (b *tab) forgive(texts ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trouble = slices.DeleteFunc(b.trouble, func(said string) bool {
		return slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(said, text) })
	})
}

// do runs actions within patience.
func (b *tab) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.fatalf("%v", err)
	}
}

// load opens a path of the page's origin.
func (b *tab) load(path string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.origin + path))
}

func (b *tab) reload() {
	b.t.Helper()
	b.do(chromedp.Reload())
}

// ask is the value of an expression in the page.
func ask[T any](b *tab, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.fatalf("%s: %v", expression, err)
	}
	return v
}

// within waits until an expression in the page is true. The page may be loaded anew
// meanwhile, and then is asked again.
func (b *tab) within(limit time.Duration, expression string) error {
	ctx, cancel := context.WithTimeout(b.ctx, limit)
	defer cancel()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	var last error
	for {
		ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`Boolean(`+expression+`)`))
		if err == nil && ok {
			return nil
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %v: %s (%v)", limit, expression, last)
		case <-look.C:
		}
	}
}

// waits waits for something outside of the tab.
func (b *tab) waits(ok func() bool) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 3*patience)
	defer cancel()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			b.fatalf("what is waited for does not come about")
		case <-look.C:
		}
	}
}

// until waits for an expression in the page, and fails the test without it.
func (b *tab) until(expression string) {
	b.t.Helper()
	if err := b.within(patience, expression); err != nil {
		b.fatalf("%v", err)
	}
}

// click clicks with the mouse where the element is that a selector finds.
func (b *tab) click(selector string) {
	b.t.Helper()
	at := b.place(selector)
	b.do(chromedp.MouseClickXY(at[0], at[1]))
}

// place brings the element that a selector finds into view; it is the middle of it.
func (b *tab) place(selector string) [2]float64 {
	b.t.Helper()
	b.until(`document.querySelector(` + quoted(selector) + `)`)
	return ask[[2]float64](b, `(() => {
		const e = document.querySelector(`+quoted(selector)+`);
		e.scrollIntoView({block: "center", behavior: "instant"});
		const r = e.getBoundingClientRect();
		return [r.left + r.width / 2, r.top + r.height / 2];
	})()`)
}

// news waits for an expression in a page that shows what is new, and fails the test
// without it: one with JavaScript by itself, one without by reload.
func (b *tab) news(expression string) {
	b.t.Helper()
	for end := time.Now().Add(patience); b.plain && time.Now().Before(end); b.reload() {
		if b.within(5*lookEvery, expression) == nil {
			return
		}
	}
	b.until(expression)
}

// tabs is how many times Tab is pressed at most to reach something.
const tabs = 200

// tabTo presses Tab until the element that a selector finds has the focus.
func (b *tab) tabTo(selector string) {
	b.t.Helper()
	for range tabs {
		b.press(kb.Tab)
		if ask[bool](b, `document.activeElement.matches(`+quoted(selector)+`)`) {
			return
		}
	}
	b.fatalf("Tab does not come to %s", selector)
}

func (b *tab) press(keys string) {
	b.t.Helper()
	b.do(chromedp.KeyEvent(keys))
}

// number is the value of an attribute that is one, or -1 where it is not there.
func (b *tab) number(selector, attribute string) int {
	b.t.Helper()
	return ask[int](b, `Number(document.querySelector(`+quoted(selector)+`)?.getAttribute(`+quoted(attribute)+`) ?? -1)`)
}

// text is what the element shows that a selector finds; empty without one.
func (b *tab) text(selector string) string {
	b.t.Helper()
	return ask[string](b, `document.querySelector(`+quoted(selector)+`)?.innerText ?? ""`)
}

// fatalf ends the test and leaves a picture and the text of the page.
func (b *tab) fatalf(format string, args ...any) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100)); err == nil {
		name := filepath.Join(b.t.ArtifactDir(), "failed.png")
		if err := os.WriteFile(name, png, 0o600); err == nil {
			b.t.Logf("how it looked: %s", name)
		}
	}
	if text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.body.innerText`)); err == nil {
		b.t.Logf("the page says:\n%s", text)
	}
	b.t.Fatalf(format, args...)
}

// quoted is a text as a literal of JavaScript.
func quoted(text string) string {
	b, _ := json.Marshal(text)
	return string(b)
}
