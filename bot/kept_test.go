package bot

import (
	"errors"
	"strconv"
	"testing"
	"time"
)

func TestAnswersAreKeptForAWhile(t *testing.T) {
	t.Parallel()
	k, now, asked := &Kept[int]{For: time.Minute}, time.Unix(1_700_000_000, 0), 0
	get := func(key string) int {
		v, err := k.Get(now, key, func() (int, error) { asked++; return asked, nil })
		if err != nil {
			t.Error(err)
		}
		return v
	}
	steps := []struct {
		pass time.Duration
		key  string
		want int
	}{{0, "a", 1}, {59 * time.Second, "a", 1}, {time.Second, "a", 2}, {0, "b", 3}, {-time.Hour, "b", 4}, {0, "b", 4}}
	for i, step := range steps {
		now = now.Add(step.pass)
		if v := get(step.key); v != step.want {
			t.Errorf("step %d: %d, want %d", i, v, step.want)
		}
	}
	if _, err := k.Get(now, "c", func() (int, error) { return 0, errors.New("no") }); err == nil {
		t.Error("a failure is none")
	}
	if v := get("c"); v != 5 {
		t.Errorf("a failure was kept: %d", v)
	}
	for i := range 3 * maxKept {
		get(strconv.Itoa(i))
	}
	if len(k.m) > maxKept {
		t.Errorf("%d are kept", len(k.m))
	}
}
