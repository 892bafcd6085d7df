//go:build !linux

package e2e_test

// Power cuts are simulated with a file system in a file, which is Linux's.
const powerVariable = "KUSTOSPOOL_POWER_CHILD"

func runPowerChild(string) int { return 2 }
