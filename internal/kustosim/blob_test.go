package kustosim

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	azureblob "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"kustospool/internal/kustosim/internal/storage"
)

func download(t *testing.T, b *blockblob.Client, opts *azblob.DownloadStreamOptions) string {
	t.Helper()
	reply, err := b.DownloadStream(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	data, err := io.ReadAll(reply.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func wantCode(t *testing.T, err error, code bloberror.Code) {
	t.Helper()
	if !bloberror.HasCode(err, code) {
		t.Errorf("error is %v, want code %s", err, code)
	}
}

func TestBlobSingleUpload(t *testing.T) {
	c := start(t, nil)
	name := "db__t 1:2+3=4/ü%.csv.gz"
	b := c.blob(c.containers[1], name)
	sum := md5.Sum([]byte("hello"))
	_, err := b.Upload(t.Context(), readSeekCloser("hello"), &blockblob.UploadOptions{
		Metadata:    map[string]*string{"Raw": to.Ptr("5")},
		HTTPHeaders: &azureblob.HTTPHeaders{BlobContentType: to.Ptr("text/plain"), BlobContentMD5: sum[:]}})
	if err != nil {
		t.Fatal(err)
	}
	if got := download(t, b, nil); got != "hello" {
		t.Errorf("downloaded %q", got)
	}
	if got := download(t, b, &azblob.DownloadStreamOptions{Range: azblob.HTTPRange{Offset: 1, Count: 3}}); got != "ell" {
		t.Errorf("downloaded the range %q", got)
	}
	props, err := b.GetProperties(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if *props.ContentLength != 5 || *props.ContentType != "text/plain" || props.ETag == nil || props.LastModified == nil || len(props.Metadata) != 1 {
		t.Errorf("properties are %+v", props)
	}
	buf := make([]byte, 5)
	if _, err := b.DownloadBuffer(t.Context(), buf, &azureblob.DownloadBufferOptions{BlockSize: 2, Concurrency: 2}); err != nil || string(buf) != "hello" {
		t.Errorf("DownloadBuffer: %q, %v", buf, err)
	}
	if got := c.sim.Blobs(); len(got) != 1 || got[0] != "simstorage1/ingestdata-1/"+name {
		t.Errorf("Blobs() is %q", got)
	}
	if _, err := b.Delete(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	_, err = b.GetProperties(t.Context(), nil)
	wantCode(t, err, bloberror.BlobNotFound)
	_, err = b.Delete(t.Context(), nil)
	wantCode(t, err, bloberror.BlobNotFound)
}

func readSeekCloser(s string) io.ReadSeekCloser {
	return struct {
		*strings.Reader
		io.Closer
	}{strings.NewReader(s), io.NopCloser(nil)}
}

func TestBlobConditions(t *testing.T) {
	c := start(t, nil)
	b := c.blob(c.containers[0], "b")
	onlyNew := &blockblob.UploadBufferOptions{AccessConditions: &azureblob.AccessConditions{ModifiedAccessConditions: &azureblob.ModifiedAccessConditions{IfNoneMatch: to.Ptr(azcore.ETagAny)}}}
	if _, err := b.UploadBuffer(t.Context(), []byte("one"), onlyNew); err != nil {
		t.Fatal(err)
	}
	_, err := b.UploadBuffer(t.Context(), []byte("two"), onlyNew)
	wantCode(t, err, bloberror.BlobAlreadyExists)
	_, err = b.UploadBuffer(t.Context(), []byte("two"), &blockblob.UploadBufferOptions{AccessConditions: &azureblob.AccessConditions{
		ModifiedAccessConditions: &azureblob.ModifiedAccessConditions{IfMatch: to.Ptr(azcore.ETag(`"other"`))}}})
	wantCode(t, err, bloberror.ConditionNotMet)
	if got := download(t, b, nil); got != "one" {
		t.Errorf("the blob is %q after refused overwrites", got)
	}
	if _, err := b.UploadBuffer(t.Context(), []byte("three"), nil); err != nil {
		t.Fatal(err)
	}
	if got := download(t, b, nil); got != "three" {
		t.Errorf("the blob is %q after an overwrite", got)
	}
}

func TestBlobStreamIsAtomic(t *testing.T) {
	c := start(t, nil)
	data := bytes.Repeat([]byte("0123456789abcdef"), 3<<16) // 3 MiB
	b := c.blob(c.containers[0], "stream")
	if _, err := b.UploadStream(t.Context(), bytes.NewReader(data), &blockblob.UploadStreamOptions{BlockSize: 1 << 20, Concurrency: 2}); err != nil {
		t.Fatal(err)
	}
	if got := download(t, b, nil); got != string(data) {
		t.Errorf("%d bytes came back, changed", len(got))
	}
	if s := c.sim.Stats(); s.BlocksPut < 3 || s.BlobsPut != 1 {
		t.Errorf("stats are %+v, want several blocks and one blob", s)
	}
	staged := c.blob(c.containers[0], "staged")
	id := func(n string) string { return base64.StdEncoding.EncodeToString([]byte(n)) }
	for _, n := range []string{"a", "b", "c"} {
		if _, err := staged.StageBlock(t.Context(), id(n), readSeekCloser(n), nil); err != nil {
			t.Fatal(err)
		}
	}
	_, err := staged.GetProperties(t.Context(), nil)
	wantCode(t, err, bloberror.BlobNotFound)
	_, err = staged.CommitBlockList(t.Context(), []string{id("a"), id("missing")}, nil)
	wantCode(t, err, bloberror.InvalidBlockList)
	if _, err = staged.CommitBlockList(t.Context(), []string{id("c"), id("a")}, nil); err != nil {
		t.Fatal(err)
	}
	if got := download(t, staged, nil); got != "ca" {
		t.Errorf("the list c, a makes %q", got)
	}
	if _, err = staged.CommitBlockList(t.Context(), []string{id("a"), id("c"), id("a")}, nil); err != nil {
		t.Fatal(err)
	}
	if got := download(t, staged, nil); got != "aca" {
		t.Errorf("a list of committed blocks makes %q", got)
	}
}

func TestBlobRefusals(t *testing.T) {
	c := start(t, &Options{MaxBlobBytes: 100})
	root := mustParse(t, c.containers[0])
	with := func(change func(q map[string][]string)) string {
		u := *root
		q := u.Query()
		change(q)
		u.RawQuery = q.Encode()
		return u.String()
	}
	issuer := c.sim.issuer
	for _, tt := range []struct {
		name string
		root string
		code bloberror.Code
	}{
		{"no signature", with(func(q map[string][]string) { delete(q, "sig") }), "NoAuthenticationInformation"},
		{"wrong signature", with(func(q map[string][]string) { q["sig"] = []string{"AAAA"} }), bloberror.AuthenticationFailed},
		{"raised permissions", with(func(q map[string][]string) { q["sp"] = []string{"racwdlx"} }), bloberror.AuthenticationFailed},
		{"later end", with(func(q map[string][]string) { q["se"] = []string{"2199-01-01T00:00:00Z"} }), bloberror.AuthenticationFailed},
		{"another container", strings.Replace(c.containers[0], "ingestdata-0", "ingestdata-1", 1), bloberror.AuthenticationFailed},
		{"expired", "http://" + root.Host + root.Path + "?" + issuer.Sign(storage.BlobService, "simstorage0", "ingestdata-0", "rcw", time.Now().Add(-25*time.Hour)), bloberror.AuthenticationFailed},
		{"read only", "http://" + root.Host + root.Path + "?" + issuer.Sign(storage.BlobService, "simstorage0", "ingestdata-0", "r", time.Now()), bloberror.AuthorizationPermissionMismatch},
		{"no container", "http://" + root.Host + "/simstorage0/gone?" + issuer.Sign(storage.BlobService, "simstorage0", "gone", "rcw", time.Now()), bloberror.ContainerNotFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := c.blob(tt.root, "b").UploadBuffer(t.Context(), []byte("x"), nil)
			wantCode(t, err, tt.code)
		})
	}
	_, err := c.blob(c.containers[0], "b").UploadBuffer(t.Context(), make([]byte, 101), nil)
	wantCode(t, err, bloberror.RequestBodyTooLarge)
	c.sim.ExpireSAS()
	_, err = c.blob(c.containers[0], "b").UploadBuffer(t.Context(), []byte("x"), nil)
	wantCode(t, err, bloberror.AuthenticationFailed)
	c.discover()
	if _, err = c.blob(c.containers[0], "b").UploadBuffer(t.Context(), []byte("x"), nil); err != nil {
		t.Errorf("with a new SAS: %v", err)
	}
}

func TestBlobDigestIsChecked(t *testing.T) {
	c := start(t, nil)
	u := c.blob(c.containers[0], "b").URL()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, u, strings.NewReader("data"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("x-ms-blob-type", "BlockBlob")
	req.Header.Set("Content-MD5", base64.StdEncoding.EncodeToString(make([]byte, 16)))
	reply, err := c.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	if reply.StatusCode != http.StatusBadRequest || reply.Header.Get("x-ms-error-code") != "Md5Mismatch" {
		t.Errorf("reply is %d %s", reply.StatusCode, reply.Header.Get("x-ms-error-code"))
	}
}

// What is committed and what is not is told apart, and ids of one blob have one length.
func TestBlobBlockList(t *testing.T) {
	c := start(t, nil)
	b := c.blob(c.containers[0], "listed")
	id := func(n string) string { return base64.StdEncoding.EncodeToString([]byte(n)) }
	_, err := b.GetBlockList(t.Context(), blockblob.BlockListTypeAll, nil)
	wantCode(t, err, bloberror.BlobNotFound)
	for _, n := range []string{"a", "b"} {
		if _, err := b.StageBlock(t.Context(), id(n), readSeekCloser(n), nil); err != nil {
			t.Fatal(err)
		}
	}
	_, err = b.StageBlock(t.Context(), id("long"), readSeekCloser("x"), nil)
	wantCode(t, err, bloberror.InvalidBlobOrBlock)
	names := func(list []*blockblob.Block) (s string) {
		for _, e := range list {
			s += *e.Name
		}
		return s
	}
	list, err := b.GetBlockList(t.Context(), blockblob.BlockListTypeAll, nil)
	if err != nil || len(list.CommittedBlocks) != 0 || len(list.UncommittedBlocks) != 2 || *list.UncommittedBlocks[0].Size != 1 {
		t.Fatalf("%+v, %v", list.BlockList, err)
	}
	if _, err := b.CommitBlockList(t.Context(), []string{id("a")}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := b.StageBlock(t.Context(), id("c"), readSeekCloser("c"), nil); err != nil {
		t.Fatal(err)
	}
	list, err = b.GetBlockList(t.Context(), blockblob.BlockListTypeAll, nil)
	if err != nil || names(list.CommittedBlocks) != id("a") || names(list.UncommittedBlocks) != id("c") {
		t.Fatalf("%q and %q, %v", names(list.CommittedBlocks), names(list.UncommittedBlocks), err)
	}
	c.sim.ForgetBlocks()
	if list, err = b.GetBlockList(t.Context(), blockblob.BlockListTypeUncommitted, nil); err != nil || len(list.CommittedBlocks)+len(list.UncommittedBlocks) != 0 {
		t.Fatalf("%+v, %v", list.BlockList, err)
	}
}
