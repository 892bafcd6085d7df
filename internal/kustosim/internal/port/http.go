package port

import (
	"io"
	"net"
	"net/http"
)

const maxDrainBytes = 1 << 30

// Drain reads the rest of a request, so that the client, who may still be
// sending, sees the reply and not a reset.
func Drain(r *http.Request) {
	io.CopyN(io.Discard, r.Body, maxDrainBytes)
}

// HangUp closes the connection with a reset where the platform has it.
func HangUp(w http.ResponseWriter) {
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		panic(http.ErrAbortHandler)
	}
	conn, _, err := hijacker.Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	conn.Close()
}
