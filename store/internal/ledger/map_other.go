//go:build windows || 386 || arm || mips || mipsle

package ledger

// initialMap asks for nothing: on Windows bbolt grows the file itself to the
// mapping, and a 32-bit address space is too small to be generous.
const initialMap = 0
