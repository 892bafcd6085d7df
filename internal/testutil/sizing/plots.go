package sizing

import (
	"fmt"
	"time"

	"kustospool/internal/plot"
	"kustospool/internal/quantity"
)

// Plots are the charts of docs/sizing.md by the names of their files, each line from
// the formulas.
func Plots() map[string]*plot.Chart {
	return map[string]*plot.Chart{"sizing-wear.svg": wearPlot(), "sizing-extents.svg": extentsPlot()}
}

// wearPlot is what a commit writes for each byte of its records, without the books.
func wearPlot() *plot.Chart {
	c := &plot.Chart{
		ID: "sizing-wear", Title: "Bytes on the device a byte of payload, by the size of a record", X: "bytes of a record", Y: "bytes on the device a byte of payload",
		Desc:  "A lone record of 100 bytes writes some forty times its size, one of 10 kB less than twice. With 64 or 1024 records in a commit it is hardly more than the records themselves, from 1 kB on.",
		Width: 720, Height: 320, Background: "#ffffff", LogX: true, LogY: true, UnitX: quantity.Bytes, TicksX: []float64{64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10},
	}
	for _, together := range []float64{1, 16, 64, 1024} {
		l := plot.Line{Name: fmt.Sprintf("%g in a commit", together)}
		for record := 64; record <= 64<<10; record *= 2 {
			d := Device{"", 1, record, together}
			l.Points = append(l.Points, plot.Point{X: float64(record), Y: (d.Written(day, 0) - d.Batches(day, day)*BatchWritten) / d.Payload(day)})
		}
		c.Lines = append(c.Lines, l)
	}
	return c
}

// extentsPlot is what a fleet of machines asks of the service.
func extentsPlot() *plot.Chart {
	c := &plot.Chart{
		ID: "sizing-extents", Title: "Extents a day, by the number of devices", X: "devices", Y: "extents a day",
		Desc:  "Exactly once the extents rise with the devices, whatever MaxAge is: a longer one moves the line down. At least once the service puts blobs together: of 1 min each, from a thousand devices on, there are five hundred times fewer.",
		Width: 720, Height: 360, Background: "#ffffff", LogX: true, LogY: true, TicksX: []float64{1, 10, 100, 1000, 1e4, 1e5},
	}
	ages := []time.Duration{time.Minute, time.Hour, 12 * time.Hour}
	add := func(name string, age time.Duration, extents func(Fleet) float64) {
		l := plot.Line{Name: name}
		for devices := 1; devices <= 100_000; devices *= 10 {
			l.Points = append(l.Points, plot.Point{X: float64(devices), Y: extents(Fleet{devices, Devices[1], age})})
		}
		c.Lines = append(c.Lines, l)
	}
	for _, age := range ages {
		add("exactly once, "+span(age), age, Fleet.ExtentsExactlyOnce)
	}
	add("at least once, "+span(time.Minute), time.Minute, Fleet.ExtentsAtLeastOnce)
	// What the cluster of the examples can ingest where each ingestion takes 1 s.
	most := Capacity() * day.Seconds()
	c.Lines = append(c.Lines, plot.Line{Name: "all of the capacity, 1 s each", Points: []plot.Point{{X: 1, Y: most}, {X: 1e5, Y: most}}})
	return c
}
