package load

import (
	"fmt"
	"strconv"
	"strings"
)

// Numbers reads the value of a flag of this name, a list with commas between,
// each from least to most. An error names the flag, the value and the rule.
func Numbers(name, list string, least, most int) (out []int, err error) {
	for _, text := range strings.Split(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < least || n > most {
			return nil, fmt.Errorf("-%s %q: must be numbers from %d to %d, with commas between", name, list, least, most)
		}
		out = append(out, n)
	}
	return out, nil
}
