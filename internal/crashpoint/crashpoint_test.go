package crashpoint

import "testing"

func TestReach(t *testing.T) {
	defer Arm("", 0, nil)
	Reach("unarmed")
	hits := 0
	Arm("a", 2, func() { hits++ })
	for i, step := range []struct {
		name string
		want int
	}{{"a", 0}, {"b", 0}, {"a", 1}, {"a", 1}} {
		Reach(step.name)
		if hits != step.want {
			t.Fatalf("step %d: %d hits, want %d", i, hits, step.want)
		}
	}
}
