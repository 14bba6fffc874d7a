package bot

import (
	"sync"
	"time"
)

// maxKept bounds what a Kept holds; asking again is cheap.
const maxKept = 2000

// Kept are answers that are used again For some time, such as who belongs to a
// group. Failures are not kept. It is safe for concurrent use.
type Kept[T any] struct {
	For time.Duration

	mu sync.Mutex
	m  map[string]keptAnswer[T]
}

type keptAnswer[T any] struct {
	at    time.Time
	value T
}

// Get is the answer of that key, asked for when it is not there or too old. Its
// age counts from now, before it was asked for. It returns ask's error.
func (k *Kept[T]) Get(now time.Time, key string, ask func() (T, error)) (T, error) {
	k.mu.Lock()
	known, found := k.m[key]
	k.mu.Unlock()
	if age := now.Sub(known.at); found && age >= 0 && age < k.For {
		return known.value, nil
	}
	value, err := ask()
	if err != nil {
		return value, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.m == nil || len(k.m) >= maxKept {
		k.m = map[string]keptAnswer[T]{}
	}
	k.m[key] = keptAnswer[T]{at: now, value: value}
	return value, nil
}
