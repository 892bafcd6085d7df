package admin_test

import (
	"fmt"

	"kustospool/transport/admin"
)

func ExampleParseColumns() {
	columns, err := admin.ParseColumns(`ts:datetime, "knots, true":double`)
	fmt.Println(columns, err)
	_, err = admin.ParseColumns("ts:timestamp")
	fmt.Println(err)
	// Output:
	// [{ts datetime} {knots, true real}] <nil>
	// column 1 "timestamp": is no type; must be one of bool, datetime, decimal, dynamic, guid, int, long, real, string, timespan
}
