package browser

import (
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"

	"kustospool/internal/testutil/netfault"
	"kustospool/statushttp"
)

// isLive is true in a page whose stream of events is connected.
const isLive = `document.body.dataset.live === "yes"`

// records is how many wait, as the page says.
const records = `Number(document.querySelector("#backlog").dataset.records)`

// rises waits until the page shows that more records wait than when it was asked first.
func (b *tab) rises(limit time.Duration) error {
	b.t.Helper()
	from := b.number("#backlog", "data-records")
	return b.within(limit, fmt.Sprintf(`%s >= %d`, records, from+20))
}

// withoutScript turns JavaScript off in a tab; what it shows then changes by a reload.
func withoutScript(b *tab) *tab {
	b.do(command(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}))
	b.plain = true
	return b
}

// The service goes while records come in: the backlog on the page grows, with the trouble
// and what to do about it, and shrinks to nothing when the service is back. A page with
// its stream shows that by itself, one without JavaScript by reload.
func TestOutage(t *testing.T) {
	s := start(t, statushttp.Options{}, "Telemetry", "Events")
	live, plain := open(t, s.url), withoutScript(open(t, s.url))
	live.load("/")
	live.until(isLive)
	ask[bool](live, `window.sameDocument = true`)
	plain.load("/")
	if told := plain.text("#troubles"); told != live.text("#troubles") {
		t.Errorf("without trouble the pages say %q and %q", told, live.text("#troubles"))
	}
	quiet := live.text("#troubles")

	up := s.down()
	stops := []func() int{s.produce(t, "Telemetry"), s.produce(t, "Events")}
	for range 2 {
		if err := live.rises(patience); err != nil {
			live.fatalf("the backlog does not rise: %v", err)
		}
	}
	live.until(trouble)
	live.until(climbs)
	plain.reload()
	if n := plain.number("#backlog", "data-records"); n < 40 {
		plain.fatalf("without JavaScript the page says that %d records wait", n)
	}
	plain.news(trouble)
	cutStream(t, s, live)

	up()
	acked := 0
	for _, stop := range stops {
		acked += stop()
	}
	s.drain(t)
	live.until(records + ` === 0 && ` + falls)
	live.until(`!(` + trouble + `)`)
	live.until(`document.querySelector("#troubles").innerText === ` + quoted(quiet))
	if !ask[bool](live, `window.sameDocument === true`) {
		t.Error("the live page was loaded anew")
	}
	plain.reload()
	if n := plain.number("#backlog", "data-records"); n != 0 {
		plain.fatalf("without JavaScript the page says that %d records wait", n)
	}
	plain.news(`!(` + trouble + `)`)
	if rows := s.sim.Count(database, "Telemetry") + s.sim.Count(database, "Events"); rows != acked {
		t.Errorf("%d records were acknowledged, the tables have %d rows", acked, rows)
	}
}

// trouble is true in a page that says what the matter is and what to do next.
const trouble = `["cannot be reached", "tries again by itself"].every(text => document.querySelector("#troubles").innerText.includes(text))`

// backlogChart is the line of the backlog in the page's chart, as heights above the lowest
// of its points, in the chart's units; the whole chart has 220.
const backlogChart = `(() => {
	const drawn = [...document.querySelector("[aria-labelledby~=chart-backlog-title]").querySelectorAll("polyline")];
	const ys = drawn.flatMap(line => [...line.points].map(point => point.y));
	return ys.map(y => Math.max(...ys) - y);
})()`

// climbs is true where the line begins low and ends at its top, by a scale that
// counts the records, and falls where it ends at its foot behind a top.
const (
	climbs = `(ys => ys[0] < 20 && Math.max(...ys) > 60 && ys.at(-1) > Math.max(...ys) - 1)(` + backlogChart + `)
		&& [...document.querySelectorAll("[aria-labelledby~=chart-backlog-title] text")].map(e => e.textContent)
			.some(tick => /^[0-9.]+k?$/.test(tick) && parseFloat(tick) * (tick.endsWith("k") ? 1000 : 1) >= ` + records + ` / 2)`
	falls = `(ys => Math.max(...ys) > 60 && ys.at(-1) < 1)(` + backlogChart + `)`
)

// cutStream is the control of what rises by itself: where the stream cannot be had nothing
// does, and the page says that it is not live.
func cutStream(t *testing.T, s *site, live *tab) {
	t.Helper()
	cut := watched(t, s.url)
	cut.do(command(network.SetBlockedURLs, network.SetBlockedURLsParams{URLPatterns: []*network.BlockPattern{{URLPattern: s.url + "/events*", Block: true}}}))
	cut.load("/")
	cut.until(`document.body.dataset.live === "no"`)
	drawn := ask[string](cut, `document.querySelector("#charts").innerHTML`)
	if err := cut.rises(2 * time.Second); err == nil {
		t.Error("the backlog rises on a page whose stream is cut")
	}
	if drawn != ask[string](cut, `document.querySelector("#charts").innerHTML`) {
		t.Error("the charts of a page whose stream is cut move")
	}
	if ask[bool](cut, isLive) {
		t.Error("a page whose stream is cut says that it is live")
	}
	if err := live.rises(patience); err != nil {
		t.Errorf("while another page's stream is cut, a live one does not go on: %v", err)
	}
}

// The network between browser and page goes and comes back: the page says so both times,
// and goes on without being loaded anew.
func TestLostConnection(t *testing.T) {
	s := start(t, statushttp.Options{}, "Telemetry")
	at, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := netfault.Listen(at.Host, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := proxy.Close(); err != nil {
			t.Errorf("closing the proxy: %v", err)
		}
	})
	b := open(t, proxy.URL())
	b.load("/")
	b.until(isLive)
	ask[bool](b, `window.sameDocument = true`)
	proxy.SetLink(false)
	b.until(`document.body.dataset.live === "no"`)
	defer s.down()()
	s.produce(t, "Telemetry")
	proxy.SetLink(true)
	b.until(isLive + ` && window.sameDocument`)
	if err := b.rises(patience); err != nil {
		b.fatalf("after the connection came back: %v", err)
	}
	// A browser says of its own accord that a connection broke.
	b.forgive("ERR_CONNECTION_RESET", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_CONNECTION_CLOSED", "ERR_EMPTY_RESPONSE", "ERR_NETWORK_CHANGED")
}
