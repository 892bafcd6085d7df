// Package typed ingests Go structs: a [Table] over a table of a spool, with the
// service's types, the command that creates the table and the mapping, all made
// from the fields of the struct.
//
//	type Reading struct {
//		At    time.Time `kusto:"ts"`
//		Boat  string
//		Knots *float64       // null where nil
//		Trace string         `kusto:"trace_id,guid"`
//		Extra map[string]any `kusto:"extra"`
//		cache int            // not exported: no column
//	}
//
// The tag is `kusto:"NAME,TYPE"`, both may be left out, and "-" leaves the field out.
// Without a name the column has the field's: a tag `json:"..."` says nothing here, not
// even "-", but inside of dynamic values it does. The fields of an embedded struct
// without a tag are columns like the others, unless it marshals itself. Two fields of
// one name are an error, at whatever depth they are.
//
//	Go                                     column     or by the tag
//	bool                                   bool
//	int8, int16, int32, uint8, uint16      int        long, decimal
//	int, int64, uint32                     long       decimal
//	uint, uint64                           long       decimal, which takes all values
//	float32, float64                       real
//	string                                 string     guid, decimal
//	time.Time                              datetime
//	time.Duration                          timespan   long, in nanoseconds
//	[16]byte, such as uuid.UUID            guid
//	encoding.TextMarshaler                 string
//	[]byte                                 dynamic, a string in base64   string
//	json.Marshaler, json.RawMessage, any, structs, maps, slices, arrays  dynamic, by encoding/json
//	a pointer to one of them               the same, null where nil
//
// # Promise
//
// A value arrives as it is, or is refused before anything is stored: integers beyond
// their column, NaN and infinities, years before 1 and after 9999, text that is no UTF-8
// or no GUID, and values over [MaxValueBytes], of which the service would keep a part or
// nothing. Types that encoding/json writes as {} whatever they hold are refused: error,
// and structs of which no field is exported. The service counts time in ticks of 100 ns; what
// is below is cut off. Inside of dynamic values encoding/json decides: it writes U+FFFD
// for what is no UTF-8 in a string, and {} for such a type in an any.
// Rows are objects whose names are the columns', so they arrive with the mapping
// and without one.
//
// # Failure
//
// Errors match [ingest.ErrInvalid] and name the field, the value and the rule. A
// bad tag or type is told by [SchemaOf] and [NewTable], a bad value by Ingest,
// whose other errors are the spool's.
//
// # What it does not do
//
// It sends no command: give transport/admin the Columns and the Mapping, or run the texts
// by hand. It changes no column: a field of another type needs another name. It reads
// no rows back. A nil *string arrives as the empty string, because a string column has
// no null (https://learn.microsoft.com/kusto/query/scalar-data-types/null-values).
package typed
