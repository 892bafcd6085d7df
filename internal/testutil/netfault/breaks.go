package netfault

// Breaks are, by name, what a client of a service should live through, each as
// a function that begins it and gives its end, which tells how many requests
// were struck. where says which requests; its Kind, At and the like are set
// here. The names are those of [Replies] with where the reply comes, and of the
// other kinds.
//
// NeverRead and ReplyFirst are not among them: the one takes the client's own
// timeouts to end, the other strikes connections.
func (s *Set) Breaks(where Fault) map[string]func() (end func() (struck int)) {
	out := make(map[string]func() func() int)
	add := func(name string, f Fault) {
		f.Method, f.PathContains, f.Match = where.Method, where.PathContains, where.Match
		f.Skip, f.Every, f.Times = where.Skip, where.Every, where.Times
		out[name] = func() func() int {
			a := s.Add(f)
			return func() int {
				a.Remove()
				return a.Struck()
			}
		}
	}
	for _, r := range Replies() {
		add(r.Name+" to the head", Fault{Kind: EarlyReply, Reply: r.Reply})
		add(r.Name+" in the middle", Fault{Kind: EarlyReply, Reply: r.Reply, At: Middle})
		add(r.Name+" in the middle, and all is read", Fault{Kind: EarlyReply, Reply: r.Reply, At: Middle, Then: ThenDrain})
	}
	add("half-close", Fault{Kind: HalfClose, At: Middle})
	add("reset at once", Fault{Kind: Reset})
	add("reset in the middle", Fault{Kind: Reset, At: Middle})
	add("reset behind the end", Fault{Kind: Reset, At: 1 << 40})
	add("trickle", Fault{Kind: Trickle, Rate: 200_000})
	return out
}
