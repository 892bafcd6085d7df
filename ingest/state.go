package ingest

import "fmt"

// State is where a batch is in its life. The zero State is not a state.
type State uint8

const (
	// Open: durable, in no batch yet. The sealer moves it to Sealed.
	Open State = iota + 1
	// Sealed: the batch is fixed and waits for an attempt. The dispatcher moves it.
	Sealed
	// Sending: an attempt may be under way. The row says so from the attempt's first
	// intent on; before it the ledger still has Sealed. The dispatcher moves it;
	// after a crash, recovery does.
	Sending
	// Unknown: the attempt may have been accepted or not. The tracker moves it.
	Unknown
	// Accepted: the service has taken the batch over. The tracker moves it.
	Accepted
	// Succeeded: the rows are in the table. Final.
	Succeeded
	// Skipped: the service says that the batch was in the table already. Final,
	// and as good as Succeeded.
	Skipped
	// HandedOver: accepted, and the caller did not want to know more
	// (ConfirmAccepted), or nobody can tell the outcome. Final.
	HandedOver
	// Split: replaced by two or more parts: malformed, or partly damaged. Final for
	// this batch; its records are in the parts.
	Split
	// DeadLettered: the service refuses the batch for good, or its bytes on
	// disk are damaged. The payload is kept aside. Final until redriven.
	DeadLettered
	// Dropped: deleted by a policy the caller chose, and counted. Final.
	Dropped

	lastState = Dropped
)

var stateNames = [...]string{
	Open: "open", Sealed: "sealed", Sending: "sending", Unknown: "unknown", Accepted: "accepted",
	Succeeded: "succeeded", Skipped: "skipped", HandedOver: "handed-over", Split: "split",
	DeadLettered: "dead-lettered", Dropped: "dropped",
}

// transitions is every legal move of a batch.
var transitions = map[State][]State{
	Open:    {Sealed},
	Sealed:  {Sending, DeadLettered, Dropped},
	Sending: {Sealed, Unknown, Accepted, Succeeded, Skipped, HandedOver, Split, DeadLettered},
	// An unknown attempt is never split or dead-lettered: its rows may be there.
	Unknown:  {Sealed, Accepted, Succeeded, Skipped, HandedOver},
	Accepted: {Sealed, Succeeded, Skipped, Split, DeadLettered},
}

// States lists every state in the order of a batch's life.
func States() []State {
	out := make([]State, 0, len(stateNames)-1)
	for s := Open; s <= lastState; s++ {
		out = append(out, s)
	}
	return out
}

// CanBecome reports whether a batch in state s may move to next.
func (s State) CanBecome(next State) bool {
	for _, t := range transitions[s] {
		if t == next {
			return true
		}
	}
	return false
}

// Final reports whether nothing moves a batch out of s.
func (s State) Final() bool { return s.Valid() && len(transitions[s]) == 0 }

// Ingested reports whether the state says that the rows are in the table.
func (s State) Ingested() bool { return s == Succeeded || s == Skipped }

// Valid reports whether s is one of the states.
func (s State) Valid() bool { return s >= Open && s <= lastState }

// String is the state's name, lower case.
func (s State) String() string {
	if !s.Valid() {
		return fmt.Sprintf("state(%d)", uint8(s))
	}
	return stateNames[s]
}

// parseState reads what String writes.
func parseState(name string) (State, error) {
	for s := Open; s <= lastState; s++ {
		if stateNames[s] == name {
			return s, nil
		}
	}
	return 0, &FieldError{Field: "state", Value: quote(name), Rule: "is not a state of a batch"}
}

// MarshalText implements [encoding.TextMarshaler]; an invalid state is an error.
func (s State) MarshalText() ([]byte, error) {
	if !s.Valid() {
		return nil, &FieldError{Field: "state", Value: s.String(), Rule: "is not a state of a batch"}
	}
	return []byte(s.String()), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *State) UnmarshalText(b []byte) error {
	v, err := parseState(string(b))
	if err != nil {
		return err
	}
	*s = v
	return nil
}
