package host

import (
	"strings"
	"testing"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/berth-dev/berth/actions"
	executorv1 "github.com/berth-dev/berth/plugins/proto/berth/executor/v1"
)

func TestMessagesThatWouldFillMemoryAreRefusedUnread(t *testing.T) {
	empty := func(field protowire.Number, times int) []byte {
		var data []byte
		for range times {
			data = protowire.AppendBytes(protowire.AppendTag(data, field, protowire.BytesType), nil)
		}
		return data
	}
	deep := []byte{}
	for range maxDepth + 2 { // values of a struct within values of a struct
		list := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), deep)
		deep = protowire.AppendBytes(protowire.AppendTag(nil, 6, protowire.BytesType), list)
	}
	entry := protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), deep)
	fields := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), entry)
	schema := protowire.AppendBytes(protowire.AppendTag(nil, 4, protowire.BytesType), fields)
	plan, err := proto.Marshal(&executorv1.PlanResponse{Diff: strings.Repeat("+ a line\n", 1<<20), Resources: make([]*executorv1.ResourceChange, 1000)})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		data []byte
		into proto.Message
		fits bool
	}{
		"a plan with a long diff and many resources":  {plan, &executorv1.PlanResponse{}, true},
		"a plan of millions of resources":             {empty(5, 4<<20), &executorv1.PlanResponse{}, false},
		"a plan of millions of inputs":                {empty(4, 4<<20), &executorv1.PlanResponse{}, false},
		"an observation of millions of links":         {empty(3, 4<<20), &executorv1.ObserveResponse{}, false},
		"millions of fields that nobody knows":        {empty(99, 4<<20), &executorv1.PlanResponse{}, false},
		"a schema that is deeper than anything":       {append(schema, empty(1, maxFields/2)...), &executorv1.DescribeResponse{}, false},
		"a message that is cut off in a field's size": {append(empty(1, maxFields-10), 0x2a, 0xff, 0xff), &executorv1.PlanResponse{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			err := newFrugal().Unmarshal(mem.BufferSlice{mem.SliceBuffer(tc.data)}, tc.into)
			if (err == nil) != tc.fits {
				t.Errorf("error %v", err)
			}
		})
	}
}

func FuzzSpend(f *testing.F) {
	seed, _ := proto.Marshal(&executorv1.PlanResponse{Summary: "s", Inputs: map[string]string{"a": "b"}, Resources: []*executorv1.ResourceChange{{Kind: "Pod"}}})
	f.Add(seed)
	f.Add([]byte{0x2a, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		left := maxFields
		var r executorv1.PlanResponse
		refused := spend(data, r.ProtoReflect().Descriptor(), &left, 0)
		if err := proto.Unmarshal(data, &r); err == nil && refused != nil {
			t.Errorf("%v, though it can be read: %v", refused, &r)
		}
	})
}

func TestResourcesOverTheWire(t *testing.T) {
	i := &instance{output: newOutput(nil, []string{"hunter2"})}
	told, left := i.resources(&executorv1.PlanResponse{ResourcesLeft: -5, Resources: []*executorv1.ResourceChange{
		{Kind: "Secret", Name: "hunter2", Namespace: "shop-pr-42", Change: executorv1.Change_CHANGE_DELETE, Destructive: true},
		{Kind: "Pod", Change: 77},
	}})
	want := []actions.Resource{{Kind: "Secret", Name: "***", Namespace: "shop-pr-42", Change: actions.ResourceDelete, Destructive: true}, {Kind: "Pod"}}
	if left != 0 || len(told) != 2 || told[0] != want[0] || told[1] != want[1] {
		t.Errorf("resources %+v, and %d more", told, left)
	}
}
