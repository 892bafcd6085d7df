package engine

import (
	"testing"

	"kustospool/engine/internal/live"
	"kustospool/ingest"
)

// The mirror of live batches counts the classes as Options do.
func TestClassesOfTheMirror(t *testing.T) {
	for ours, its := range map[Class]live.Class{ClassAlarm: live.Alarm, ClassNormal: live.Normal, ClassBulk: live.Bulk} {
		o := (&Options{Class: ours, Order: FreshFirst}).withDefaults()
		if class, freshFirst := o.liveOrder(&ingest.Properties{}); class != its || !freshFirst {
			t.Errorf("%s is %d, %v", ours, class, freshFirst)
		}
		if _, freshFirst := o.liveOrder(&ingest.Properties{ByReference: true}); freshFirst {
			t.Error("a lane of blobs is sent fresh first")
		}
	}
	if int(ClassBulk) != live.Classes {
		t.Errorf("%d classes", live.Classes)
	}
}
