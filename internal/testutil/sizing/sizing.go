// Package sizing is where the numbers of docs/sizing.md come from: formulas of what a
// spool takes and writes, and of what a fleet asks of the service. Its tests compare
// the page with [Tables], and the constants with a spool.
//
// # What it does not do
//
// It measures no time, and knows the disk of nobody: what reaches the flash cells
// behind a device's own controller is the controller's doing.
package sizing

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"kustospool/batching"
	"kustospool/ingest"
)

// What a spool takes. The headers are those of docs/on-disk-format.md.
const (
	CommitBytes  = 60    // the header of a commit
	FrameBytes   = 64    // and of the frame in it
	PageBytes    = 4096  // what a file system writes at least
	BatchWritten = 65536 // to the books, in the life of a batch, tracking included
	BatchBooks   = 300   // of manifest.db, for a batch that waits
	BatchMemory  = 1200  // for a batch that waits
	BaseMemory   = 24 << 20
	UploadMemory = 10 << 20 // for each of Options.Senders (transport/internal/upload)
	Senders      = 4
	Reserve      = 4 << 20 // of the quota, for the books
	Segment      = 64 << 20
)

// What the service publishes, and the cluster of the examples. The pages are named in
// docs/sizing.md.
const (
	QueueMessages     = 2000  // a second and queue
	AdvisedBatch      = 100e6 // bytes before compression, the lower end
	ServiceBatchBytes = 1024 << 20
	ServiceBatchBlobs = 500
	ServiceBatchAge   = 5 * time.Minute
	TagCharacters     = 1e6 // of a merged extent
	MaxIngestions     = 512
	Nodes, Cores      = 2, 8
	CoreUtilization   = 0.75
)

// Capacity is how many ingestions the cluster of the examples runs at once.
func Capacity() float64 { return min(MaxIngestions, Nodes*max(1, Cores*CoreUtilization)) }

// MergedTags is how many batches a merged extent can hold by their tags.
func MergedTags() float64 {
	return math.Floor(TagCharacters / float64(len(ingest.TagIngestBy+ingest.BatchID{}.String())))
}

const day = 24 * time.Hour

// Device is a program with one table.
type Device struct {
	Name     string
	Rate     float64 // records a second
	Record   int     // bytes
	Together float64 // records that share a commit, by producers at the same time
}

// Devices are the examples.
var Devices = []Device{{"sensor", 0.1, 200, 1}, {"machine", 10, 500, 1}, {"gateway", 2000, 500, 64}}

// String says what the device is.
func (d Device) String() string {
	return fmt.Sprintf("%s: %g a second of %d bytes", d.Name, d.Rate, d.Record)
}

// Payload is bytes of records in a time.
func (d Device) Payload(t time.Duration) float64 { return d.Rate * float64(d.Record) * t.Seconds() }

// Commits are those of a time, with Options.CommitInterval or, where it is 0,
// without.
func (d Device) Commits(t, interval time.Duration) float64 {
	rate := d.Rate / d.Together
	if interval > 0 {
		rate = min(rate, 1/interval.Seconds())
	}
	return rate * t.Seconds()
}

// Log is what the records of a time take in the log.
func (d Device) Log(t time.Duration) float64 {
	length := len(binary.AppendUvarint(nil, uint64(d.Record)))
	return d.Payload(t) + d.Rate*t.Seconds()*float64(length) + d.Commits(t, 0)*(CommitBytes+FrameBytes)
}

// BatchEvery is the time from one batch to the next: the age counts from the first
// record of a batch.
func (d Device) BatchEvery(age time.Duration) time.Duration {
	bySize := float64(batching.DefaultMaxBytes) / d.Payload(time.Second)
	return time.Duration(min(bySize, age.Seconds()+1/d.Rate) * float64(time.Second))
}

// Batches are those of a time.
func (d Device) Batches(t, age time.Duration) float64 {
	return t.Seconds() / d.BatchEvery(age).Seconds()
}

// Waiting are the batches of an outage. While one waits that has not left, the next
// is not sealed by its age, so they are large whatever MaxAge is.
func (d Device) Waiting(outage time.Duration) float64 {
	return 1 + math.Ceil(d.Payload(outage)/float64(batching.DefaultMaxBytes))
}

// Quota is the least MaxDiskBytes for an outage: the log, two segments that are not
// full, and the books with their reserve. Segments are an eighth of a small quota.
func (d Device) Quota(outage time.Duration) float64 {
	need := d.Log(outage) + max(Reserve, BatchBooks*d.Waiting(outage)+Reserve/2)
	return max(32<<20, min(need+2*Segment, need/(1-2.0/8)))
}

// Memory is the most that is in use after an outage.
func (d Device) Memory(outage time.Duration) float64 {
	return BaseMemory + Senders*UploadMemory + BatchMemory*d.Waiting(outage)
}

// Written is what reaches the device in a day: each commit its bytes and, because it
// begins and ends within pages, one page less a byte more.
func (d Device) Written(age, interval time.Duration) float64 {
	commits := d.Commits(day, interval)
	log := d.Log(day) - (d.Commits(day, 0)-commits)*(CommitBytes+FrameBytes)
	return log + commits*(PageBytes-1) + d.Batches(day, age)*BatchWritten
}

// Fleet is many devices of one kind that deliver into one table.
type Fleet struct {
	Devices int
	Device
	Age time.Duration
}

// BatchesPerSecond is also messages a second, and exactly once extents a second.
func (f Fleet) BatchesPerSecond() float64 {
	return float64(f.Devices) / f.BatchEvery(f.Age).Seconds()
}

// SecondsEach is how long an ingestion may take where each batch is one.
func (f Fleet) SecondsEach() float64 { return Capacity() / f.BatchesPerSecond() }

// ExtentsExactlyOnce are those of a day: a tagged batch is ingested alone.
func (f Fleet) ExtentsExactlyOnce() float64 { return f.BatchesPerSecond() * day.Seconds() }

// ExtentsAtLeastOnce are those of a day where the service puts blobs together.
func (f Fleet) ExtentsAtLeastOnce() float64 {
	bytes := float64(f.Devices) * f.Payload(time.Second)
	sealed := min(ServiceBatchAge.Seconds(), ServiceBatchBytes/bytes, ServiceBatchBlobs/f.BatchesPerSecond())
	return min(day.Seconds()/sealed, f.ExtentsExactlyOnce())
}

// LeastAge is the MaxAge at which each ingestion of the fleet may take so long.
func (f Fleet) LeastAge(each time.Duration) time.Duration {
	return time.Duration(float64(f.Devices) * each.Seconds() / Capacity() * float64(time.Second))
}
