package githubtest

import "net/http"

func (s *Server) servePage(w http.ResponseWriter, r *http.Request) bool { return false }
func (s *Server) serveAvatar(w http.ResponseWriter, r *http.Request)   {}
