package host

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// maxFields is how many fields one message of an executor may have, those of
// messages in it included. An empty message within another takes two bytes on
// the wire and a hundred in memory, so that maxReceive alone would let a hostile
// program take gigabytes. A plan of a thousand resources has about 6,000.
const maxFields = 200_000

// maxDepth is how deep messages may lie in each other. Source: the limit of
// protobuf's own readers in other languages, protobuf.dev/programming-guides.
const maxDepth = 100

// frugal is gRPC's codec for protobuf with a look at each message before it is
// read into memory.
type frugal struct{ encoding.CodecV2 }

// newFrugal wraps the codec that gRPC itself uses.
func newFrugal() frugal { return frugal{encoding.GetCodecV2("proto")} }

// Unmarshal implements encoding.CodecV2.
func (f frugal) Unmarshal(data mem.BufferSlice, v any) error {
	if m, ok := v.(proto.Message); ok && data.Len() > maxFields { // fewer bytes hold fewer fields
		left := maxFields
		if err := spend(data.Materialize(), m.ProtoReflect().Descriptor(), &left, 0); err != nil {
			return fmt.Errorf("%s: %w", m.ProtoReflect().Descriptor().Name(), err)
		}
	}
	return f.CodecV2.Unmarshal(data, v)
}

// spend counts the fields of a message down from left.
func spend(data []byte, about protoreflect.MessageDescriptor, left *int, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("messages lie deeper in each other than %d", maxDepth)
	}
	for len(data) > 0 {
		if *left--; *left < 0 {
			return fmt.Errorf("more than %d fields", maxFields)
		}
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return protowire.ParseError(n)
		}
		data = data[n:]
		if n = protowire.ConsumeFieldValue(number, kind, data); n < 0 {
			return protowire.ParseError(n)
		}
		if inner := about.Fields().ByNumber(number); kind == protowire.BytesType && inner != nil && inner.Message() != nil {
			value, _ := protowire.ConsumeBytes(data)
			if err := spend(value, inner.Message(), left, depth+1); err != nil {
				return err
			}
		}
		data = data[n:]
	}
	return nil
}
