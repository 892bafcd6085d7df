package ledger

// overlay is a map of the mirror with the changes of a group over it. A nil
// value in over is a row that is removed.
type overlay[K comparable, V any] struct {
	base map[K]*V
	over map[K]*V
}

func over[K comparable, V any](base map[K]*V) overlay[K, V] {
	return overlay[K, V]{base: base, over: map[K]*V{}}
}

func (o *overlay[K, V]) get(k K) *V {
	if v, ok := o.over[k]; ok {
		return v
	}
	return o.base[k]
}

// publish makes the changes part of the base.
func (o *overlay[K, V]) publish() {
	for k, v := range o.over {
		if v == nil {
			delete(o.base, k)
		} else {
			o.base[k] = v
		}
	}
}
