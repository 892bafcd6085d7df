package address_test

import (
	"fmt"

	"kustospool/transport/address"
)

func ExampleParse() {
	for _, spelling := range []string{
		"https://ingest-help.westeurope.kusto.windows.net:443/",
		"https://help.westeurope.kusto.windows.net/Samples;Fed=True",
		"help.westeurope",
	} {
		a, err := address.Parse(spelling)
		fmt.Println(a.Name, a.Database, err)
	}
	// Output:
	// https://help.westeurope.kusto.windows.net  <nil>
	// https://help.westeurope.kusto.windows.net Samples <nil>
	//   endpoint "help.westeurope": must begin with https://; write https://help.westeurope.kusto.windows.net
}
