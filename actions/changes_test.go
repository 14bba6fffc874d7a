package actions_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/actions/redistest"
)

func TestChangesThatAreNotTakenAreHandedAgain(t *testing.T) {
	t.Parallel()
	s := actions.NewStore(redistest.Client(t), actions.StoreOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	var refused []actions.Change
	taken, ended := make(chan []actions.Change, 100), make(chan struct{})
	go func() {
		defer close(ended)
		s.FollowChanges(ctx, func(changes []actions.Change) error {
			if refused == nil {
				refused = changes
				return errors.New("not now")
			}
			taken <- changes
			return nil
		})
	}()
	var got []actions.Change
	for n := 0; got == nil; n++ { // until it is seen that they are followed
		if _, err := note(ctx, s, shop42, fmt.Sprint(n), actions.Record{Kind: "word.set"}); err != nil {
			t.Fatal(err)
		}
		select {
		case got = <-taken:
		case <-time.After(50 * time.Millisecond):
		}
	}
	if got[0] != refused[0] {
		t.Errorf("after %+v was refused %+v is handed", refused, got)
	}
	if _, err := note(ctx, s, shop42, "last", actions.Record{Kind: "word.set", RequestID: "last"}); err != nil {
		t.Fatal(err)
	}
	for at := got[len(got)-1]; at.RequestID != "last"; at = got[len(got)-1] {
		if got = <-taken; got[0].ID <= at.ID {
			t.Errorf("%+v is handed after %+v", got[0], at)
		}
	}
	cancel()
	<-ended
}
