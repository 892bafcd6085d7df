package azurite

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// sasVersion is an old storage version on purpose: its string to sign has no
// parts that later versions added and nobody here needs.
const sasVersion = "2018-03-28"

// Container makes a container with a fresh name and returns its URL with a
// SAS of permissions "rwdl", as Kusto hands them out.
func (az *Azurite) Container(t testing.TB) string {
	t.Helper()
	name := freshName()
	az.create(t, http.MethodPut, az.BlobURL+"/"+name+"?restype=container&"+az.accountSAS(), "")
	return az.ContainerSAS(name, "rwdl", time.Now().Add(24*time.Hour))
}

// Queue makes a queue with a fresh name and returns its URL with a SAS of
// permissions "raup"; Kusto's have "a" only: see [Azurite.QueueSAS].
func (az *Azurite) Queue(t testing.TB) string {
	t.Helper()
	name := freshName()
	az.create(t, http.MethodPut, az.QueueURL+"/"+name+"?"+az.accountSAS(), "")
	return az.QueueSAS(name, "raup", time.Now().Add(24*time.Hour))
}

// Table makes a table with a fresh name and returns its URL with a SAS of
// permissions "raud".
func (az *Azurite) Table(t testing.TB) string {
	t.Helper()
	name := freshName()
	az.create(t, http.MethodPost, az.TableURL+"/Tables?"+az.accountSAS(), fmt.Sprintf(`{"TableName":%q}`, name))
	return az.TableSAS(name, "raud", time.Now().Add(24*time.Hour))
}

// ContainerSAS is the URL of a container with a SAS that ends at expiry.
func (az *Azurite) ContainerSAS(name, permissions string, expiry time.Time) string {
	q := az.sign(permissions, expiry, "/blob/"+az.Account+"/"+name, 5)
	q.Set("sr", "c")
	return az.BlobURL + "/" + name + "?" + q.Encode()
}

// QueueSAS is the URL of a queue with a SAS that ends at expiry.
func (az *Azurite) QueueSAS(name, permissions string, expiry time.Time) string {
	return az.QueueURL + "/" + name + "?" + az.sign(permissions, expiry, "/queue/"+az.Account+"/"+name, 0).Encode()
}

// TableSAS is the URL of a table with a SAS that ends at expiry.
func (az *Azurite) TableSAS(name, permissions string, expiry time.Time) string {
	q := az.sign(permissions, expiry, "/table/"+az.Account+"/"+strings.ToLower(name), 4)
	q.Set("tn", name)
	return az.TableURL + "/" + name + "?" + q.Encode()
}

// sign makes a service SAS. The parts of the string to sign that are not used
// stand in it as empty lines; trailing is how many follow the version.
func (az *Azurite) sign(permissions string, expiry time.Time, resource string, trailing int) url.Values {
	st, se := sasTime(time.Now().Add(-15*time.Minute)), sasTime(expiry)
	lines := append([]string{permissions, st, se, resource, "", "", "", sasVersion}, make([]string, trailing)...)
	return url.Values{"sv": {sasVersion}, "sp": {permissions}, "st": {st}, "se": {se}, "sig": {az.mac(strings.Join(lines, "\n"))}}
}

// accountSAS may do everything for ten minutes. The package itself uses it.
func (az *Azurite) accountSAS() string {
	const permissions, services, types = "rwdlacup", "bqt", "sco"
	se := sasTime(time.Now().Add(10 * time.Minute))
	toSign := strings.Join([]string{az.Account, permissions, services, types, "", se, "", "", sasVersion, ""}, "\n")
	return url.Values{"sv": {sasVersion}, "sp": {permissions}, "ss": {services}, "srt": {types}, "se": {se}, "sig": {az.mac(toSign)}}.Encode()
}

func (az *Azurite) mac(toSign string) string {
	key, err := base64.StdEncoding.DecodeString(az.Key)
	if err != nil {
		panic("azurite: the key it made is no base64")
	}
	h := hmac.New(sha256.New, key)
	h.Write([]byte(toSign))
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

func sasTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// freshName suits containers, queues and tables alike.
func freshName() string { return "t" + strings.ToLower(rand.Text()) }

// create makes a container, queue or table on a connection of its own.
func (az *Azurite) create(t testing.TB, method, target, body string) {
	t.Helper()
	status, answer, err := call(t.Context(), method, target, body)
	if err != nil {
		t.Fatalf("Azurite: %v", err)
	}
	if status/100 != 2 {
		t.Fatalf("Azurite: create: status %d: %s", status, answer)
	}
}

// call makes one request and leaves no connection and no goroutine behind.
func call(ctx context.Context, method, target, body string) (status int, answer string, err error) {
	req, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("x-ms-version", "2021-12-02")
	// Tables speak JSON, the others XML.
	if strings.HasPrefix(body, "{") {
		req.Header.Set("Content-Type", "application/json")
	} else if body != "" {
		req.Header.Set("Content-Type", "application/xml")
	}
	req.Header.Set("Accept", "application/json;odata=nometadata")
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	return resp.StatusCode, string(text), err
}
