package actions

import (
	"fmt"
	"testing"
)

func TestAReceiptIsCountedOnce(t *testing.T) {
	t.Parallel()
	var got receipts
	for range 2 { // the second time by a step that is tried again
		for i := range maxReceipts + 5 {
			got.add(Resource{Kind: "Secret", Namespace: "shop", Name: fmt.Sprint(i), Change: ResourceDelete})
		}
	}
	got.add(Resource{Kind: "Secret", Namespace: "shop", Name: "0", Change: ResourceDelete, Destructive: true})
	if len(got.first) != maxReceipts || got.left != 5 {
		t.Errorf("%d receipts and %d more", len(got.first), got.left)
	}
	got.add(Resource{Kind: "Secret", Namespace: "other", Name: "0", Change: ResourceDelete})
	if got.left != 6 {
		t.Errorf("the same name in another namespace is another thing: %d more", got.left)
	}
}
