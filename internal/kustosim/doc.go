// Package kustosim is a simulated Azure Data Explorer (Kusto): the data
// management and engine endpoints, Azure blob, queue and table storage over
// HTTP, and an ingestor that takes the messages, aggregates, honours tags,
// parses, keeps rows and reports. It exists so that a duplicate or a loss
// shows up as a wrong row count.
package kustosim
