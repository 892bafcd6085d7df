package browser

import (
	"strings"
	"testing"

	"kustospool/engine"
	"kustospool/statushttp"
)

// troubled is a site with something in every part of its page: an outage under way, names
// as long as they may be, a paused table, and a dead letter.
func troubled(t *testing.T, o statushttp.Options) (s *site, dead string) {
	t.Helper()
	long := strings.Repeat("Anlagenmesswerte_", 20)
	s = start(t, o, "Telemetry", "Events", "Audit", long)
	dead, mend := s.kill(t, "Events", `{"n":1,"where":"`+strings.Repeat("x", 500)+`"}`, strings.Repeat("no_blank_in_it", 30))
	mend()
	if _, err := s.spool.Pause(engine.TableName{Database: database, Table: "Audit"}, "the schema is being changed"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.down())
	for _, table := range []string{"Telemetry", "Audit", long} {
		if _, err := s.ingest(t.Context(), table, `{"n":1}`); err != nil {
			t.Fatal(err)
		}
	}
	return s, dead
}

// Every page fits a phone, can be touched, read in light and dark, and used by keyboard.
func TestLayout(t *testing.T) {
	const token = "a token of the tests"
	s, dead := troubled(t, statushttp.Options{})
	locked := start(t, statushttp.Options{Token: strings.ReplaceAll(token, " ", "-")})
	for _, at := range []struct{ name, url, path string }{
		{"home", s.url, "/"}, {"dead letter", s.url, "/dead/" + dead}, {"drop", s.url, "/dead/" + dead + "/drop"},
		{"dead letters", s.url, "/dead/"}, {"pause", s.url, "/pause?table=Demo.Telemetry"}, {"login", locked.url, "/login"},
	} {
		t.Run(at.name, func(t *testing.T) {
			b := open(t, at.url)
			if at.path == "/" {
				b.load(at.path)
				b.until(isLive + " && " + trouble + ` && document.querySelector("#charts svg")`)
			}
			for _, screen := range []struct {
				name          string
				width, height int64
				phone         bool
			}{{"phone", 360, 740, true}, {"desktop", 1280, 900, false}} {
				b.size(screen.width, screen.height, screen.phone)
				for _, scheme := range []string{"light", "dark"} {
					b.media("prefers-color-scheme", scheme)
					b.load(at.path)
					for _, call := range []string{"wide()", "small()", "faint()"} {
						for _, wrong := range audit[[]string](b, call) {
							t.Errorf("%s, %s: %s", screen.name, scheme, wrong)
						}
					}
				}
				for _, wrong := range b.unreached() {
					t.Errorf("%s: %s", screen.name, wrong)
				}
			}
		})
	}
}
