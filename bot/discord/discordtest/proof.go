package discordtest

import "encoding/json"

// itself begins what is on Odd because the stand-in sent what Discord would not.
const itself = "discordtest sends what Discord does not: "

// proof compares what the stand-in is about to send, the answer of a route or an
// event of the gateway, with what the description says of it. The caller holds
// s.mu.
func (s *Server) proof(name string, sent any) {
	var v any
	if err := json.Unmarshal(encode(sent), &v); err != nil {
		s.strange("%s%s: %v", itself, name, err)
		return
	}
	bs, err := checkType(name, v)
	if err != nil {
		s.strange("%s%v", itself, err)
	}
	for _, b := range bs {
		s.strange("%s%s: %s: %.2000s", itself, name, b, encode(sent))
	}
}
