package store

// bugs are planted by tests, to see that the tests would notice them. Nothing
// else sets them.
type bugs struct {
}
