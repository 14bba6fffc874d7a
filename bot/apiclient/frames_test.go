package apiclient

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
)

func FuzzFrames(f *testing.F) {
	f.Add("id: 1-0\nevent: log\ndata: {}\n\n: x\n\nevent: end\r\ndata: {}\r\n\r\n")
	f.Add("data\n\n\n\ndata: a\ndata: b\n\nid: \x00\n")
	f.Fuzz(func(t *testing.T, stream string) {
		in := &frames{in: bufio.NewReaderSize(strings.NewReader(stream), 16)}
		for n := 0; ; n++ {
			frame, err := in.next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if frame.data == "" && frame.event == "" && !strings.Contains(stream, "data") || n > len(stream) {
				t.Fatalf("frame %d of %q is %+v", n, stream, frame)
			}
		}
	})
}
