package discord

import (
	"fmt"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions/redistest"
)

func TestUntilWhenAShardWasHeard(t *testing.T) {
	t.Parallel()
	ago := func(d time.Duration) time.Time { return testNow.Add(-d).UTC() }
	type kept struct {
		n, count int
		at       time.Time
	}
	tests := map[string]struct {
		kept []kept
		raw  map[string]string
		want time.Time
	}{
		"nobody ever listened":                  {},
		"it was heard":                          {kept: []kept{{0, 2, ago(time.Minute)}, {1, 2, ago(time.Hour)}, {0, 1, ago(2 * time.Hour)}}, want: ago(time.Minute)},
		"there were fewer shards":               {kept: []kept{{0, 1, ago(time.Minute)}}, want: ago(time.Minute)},
		"there were more, the last one counts":  {kept: []kept{{0, 3, ago(time.Minute)}, {1, 3, ago(2 * time.Minute)}}, want: ago(2 * time.Minute)},
		"only others of as many were heard":     {kept: []kept{{1, 2, ago(time.Minute)}}},
		"another replica's clock is ahead":      {kept: []kept{{0, 2, ago(-time.Hour)}}, want: ago(0)},
		"what is kept is nothing that was kept": {raw: map[string]string{"0/2": "x", "0/1": "-1"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := &lastHeard{rdb: redistest.Client(t), app: testApp, now: func() time.Time { return testNow }}
			for _, k := range test.kept {
				if err := h.keep(t.Context(), k.n, k.count, k.at); err != nil {
					t.Fatal(err)
				}
			}
			for field, value := range test.raw {
				h.rdb.HSet(t.Context(), keyHeard(testApp), field, value)
			}
			if got, err := h.until(t.Context(), 0, 2); err != nil || !got.Equal(test.want) {
				t.Errorf("%s, %v; want %s", got, err, test.want)
			}
		})
	}
}

func TestTheLastDirectMessagesAreKept(t *testing.T) {
	t.Parallel()
	now := testNow
	h := &lastHeard{rdb: redistest.Client(t), app: testApp, now: func() time.Time { return now }}
	for i := range directsMost + 5 {
		now = now.Add(time.Second)
		if err := h.direct(t.Context(), fmt.Sprint(100+i)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := h.directs(t.Context())
	if err != nil || len(got) != directsMost || got[0] != fmt.Sprint(100+directsMost+4) {
		t.Errorf("%v %v", got, err)
	}
	now = now.Add(directsKept + time.Second)
	if err := h.direct(t.Context(), "1"); err != nil {
		t.Fatal(err)
	}
	if got, _ := h.directs(t.Context()); len(got) != 1 {
		t.Errorf("%v", got)
	}
}
