package engine

import (
	"log/slog"

	"kustospool/operate"
)

// answer makes the spool answer on its socket; nil where it cannot. That costs
// the operator's questions and nothing else, so it is logged and no error.
func (s *Spool) answer() *operate.Server {
	if s.opts.NoSocket {
		return nil
	}
	socket, err := operate.Listen(s.store.Dir())
	if err != nil {
		s.log.Warn("the spool cannot be asked while it is in use: there is no socket", "dir", s.store.Dir(), "cause", err)
		return nil
	}
	if why := socket.Elsewhere(); why != nil {
		s.log.Info("the spool's socket is elsewhere; its lock file names the place", "dir", s.store.Dir(), "socket", socket.Path(), "cause", why)
	}
	s.store.SaySocket(socket.Name())
	return operate.Serve(socket, s.Operator(), s.log)
}

// silence ends the answers. It joins what is being answered.
func silence(server *operate.Server, log *slog.Logger) {
	if server == nil {
		return
	}
	if err := server.Close(); err != nil {
		log.Warn("the spool's socket was not removed", "socket", server.Path(), "cause", err)
	}
}
