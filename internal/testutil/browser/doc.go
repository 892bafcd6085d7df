// Package browser holds the page of package statushttp against a real browser:
// headless Chromium opens it over a real listener, before a spool that delivers to the
// simulator, and its tests look at what is shown, click, and press keys.
//
// What every test also asserts of each of its tabs is in tab_test.go: nothing on the
// console, nothing that the Content-Security-Policy forbade, no dialog, and no request to
// anything but the page. control_test.go has for each of these a page that breaks it, and
// sees that it is noticed.
//
// Chromium is found by the environment's CHROMIUM or as chromium, chromium-browser or
// google-chrome in PATH. Without one the tests are skipped, which says so, and fail with
// CI in the environment. It has a profile of its own, which goes with the test, and
// reaches nothing but this machine: what it asks of anybody else ends at a proxy of the
// tests, which refuses it.
//
// With UPDATE_SCREENSHOTS=1 in the environment the pictures of docs/page.md are written
// anew; otherwise they go to the test's artifacts.
//
// It is a module of its own, so that the driver stays out of the product's go.mod. .ci/run
// runs its tests. It does not test how the page looks elsewhere than in Chromium.
package browser
