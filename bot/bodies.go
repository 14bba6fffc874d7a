package bot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	// firstRead is how much room is made for a body before anything of it is seen,
	// whatever length it claims, in bytes: most fit, and a lie costs little.
	firstRead = 32 << 10
	// maxPooled is the largest buffer that is kept for the next body, in bytes.
	maxPooled = 256 << 10
)

var errTooLarge = errors.New("too large")

// Bodies reads what platforms POST, before it is known whether it is theirs:
// bounded in size and in time, into buffers that are used again.
type Bodies struct {
	Max    int           // the largest that is taken, in bytes, of whole MiB
	Within time.Duration // how long one may take to arrive once its headers are there

	buffers sync.Pool // *[]byte
}

// Take hands a request's body to do, which must not keep it. One that is not
// POSTed, too large or not whole is refused with a line of text.
func (b *Bodies) Take(w http.ResponseWriter, r *http.Request, do func(body []byte)) {
	tooLarge := fmt.Sprintf("a request has %d MiB at most", b.Max>>20)
	switch {
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		WriteLine(w, http.StatusMethodNotAllowed, "this is the address of what is sent by POST")
		return
	case r.ContentLength > int64(b.Max):
		w.Header().Set("Connection", "close") // the rest of it is not read
		WriteLine(w, http.StatusRequestEntityTooLarge, tooLarge)
		return
	}
	buf, _ := b.buffers.Get().(*[]byte)
	if buf == nil {
		room := make([]byte, 0, firstRead)
		buf = &room
	}
	// A recorder in a test has no deadline to set, which is no matter.
	to := http.NewResponseController(w)
	_ = to.SetReadDeadline(time.Now().Add(b.Within))
	body, err := b.read(r.Body, *buf)
	_ = to.SetReadDeadline(time.Time{}) // it would end the request while that is answered
	if err != nil {
		w.Header().Set("Connection", "close")
		if errors.Is(err, errTooLarge) {
			WriteLine(w, http.StatusRequestEntityTooLarge, tooLarge)
		} else {
			WriteLine(w, http.StatusBadRequest, "the request did not arrive whole")
		}
		return
	}
	do(body)
	if cap(body) <= maxPooled {
		*buf = body[:0]
		b.buffers.Put(buf)
	}
}

// read reads r into buf, which grows as bytes arrive and not by what their sender
// promised.
func (b *Bodies) read(r io.Reader, buf []byte) ([]byte, error) {
	for {
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, min(max(cap(buf), bytes.MinRead), b.Max))
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if len(buf) > b.Max {
			return nil, errTooLarge
		}
		if err == io.EOF {
			return buf, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// WriteLine answers with one line of text, for whoever looks at what became of
// what a platform sent. The text is of our own words.
func WriteLine(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n") // whoever sent it may be gone
}
