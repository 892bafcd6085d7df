package main

import (
	"maps"
	"strings"
	"testing"
	"time"

	"kustospool/engine"
)

// Each way to give a class reaches the engine's options, and what is none is
// refused with the rule.
func TestOrderFlags(t *testing.T) {
	own := engine.TableName{Database: "Fleet", Table: "Alarms"}
	for _, c := range []struct {
		classes []string
		own     engine.TableName
		class   engine.Class // of all tables
		tables  map[engine.TableName]engine.Class
		refused string
	}{
		{classes: nil, own: own},
		{classes: []string{"alarm"}, own: own, tables: map[engine.TableName]engine.Class{own: engine.ClassAlarm}},
		{classes: []string{"bulk"}, class: engine.ClassBulk},
		{classes: []string{"bulk", "Fleet.Alarms=alarm", "D.a.b=normal"}, class: engine.ClassBulk,
			tables: map[engine.TableName]engine.Class{own: engine.ClassAlarm, {Database: "D", Table: "a.b"}: engine.ClassNormal}},
		{classes: []string{"urgent"}, refused: "must be alarm, normal or bulk"},
		{classes: []string{"Alarms=alarm"}, refused: "DATABASE.TABLE"},
	} {
		s := orderSettings{classes: c.classes, freshFirst: true, freshShare: 60, freshFor: time.Minute}
		var opts engine.Options
		err := s.apply(&opts, c.own)
		if c.refused != "" {
			if err == nil || !strings.Contains(err.Error(), c.refused) {
				t.Errorf("%q: %v, want %q", c.classes, err, c.refused)
			}
			continue
		}
		got := map[engine.TableName]engine.Class{}
		for name, o := range opts.Tables {
			got[name] = o.Class
		}
		if err != nil || opts.Class != c.class || !maps.Equal(got, c.tables) || opts.Order != engine.FreshFirst || opts.FreshShare != 60 {
			t.Errorf("%q: class %v, tables %v, order %v, share %d, %v", c.classes, opts.Class, got, opts.Order, opts.FreshShare, err)
		}
	}
	one := orderSettings{freshFirst: true, freshShare: 70, freshFor: time.Minute}
	if err := one.apply(&engine.Options{Senders: 1}, own); err == nil {
		t.Error("fresh first with one sender is taken")
	}
	if err := (&orderSettings{freshShare: 100, freshFor: time.Minute}).apply(new(engine.Options), own); err == nil {
		t.Error("a share of 100 is taken")
	}
}
