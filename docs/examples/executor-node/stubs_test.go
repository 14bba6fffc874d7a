package site

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
)

var described = regexp.MustCompile(`fileDesc\("([A-Za-z0-9+/=]+)"`)

// TestStubsAreThoseOfTheProtocol compares what the stubs were generated from with
// the protocol as the SDK speaks it.
func TestStubsAreThoseOfTheProtocol(t *testing.T) {
	code, err := os.ReadFile(filepath.Join("src", "gen", "berth", "executor", "v1", "executor_pb.js"))
	if err != nil {
		t.Fatal(err)
	}
	m := described.FindSubmatch(code)
	if m == nil {
		t.Fatal("the stubs hold no description of their protocol")
	}
	data, err := base64.RawStdEncoding.DecodeString(string(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	var have descriptorpb.FileDescriptorProto
	if err := proto.Unmarshal(data, &have); err != nil {
		t.Fatal(err)
	}
	file, err := protoregistry.GlobalFiles.FindFileByPath("berth/executor/v1/executor.proto")
	if err != nil {
		t.Fatal(err)
	}
	want := protodesc.ToFileDescriptorProto(file)
	for _, f := range []*descriptorpb.FileDescriptorProto{&have, want} {
		f.Options, f.SourceCodeInfo, f.Dependency = nil, nil, nil
		for _, m := range f.GetMessageType() {
			plain(m)
		}
	}
	if !proto.Equal(&have, want) {
		t.Error("the stubs are not of the protocol as it is now; make them anew with: npm install && npm run generate")
	}
}

// plain is without names that follow from others.
func plain(m *descriptorpb.DescriptorProto) {
	for _, f := range m.GetField() {
		f.JsonName = nil
	}
	for _, nested := range m.GetNestedType() {
		plain(nested)
	}
}
