package strongswan

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/cxtp/cxtp/ikectx/strongswan/ha"
)

// listed is an IKE SA of a fake charon.
func listed(n uint64, unique uint32) fakeSA {
	return fakeSA{name: "clients", state: established, at: "192.0.2.1", unique: unique, id: spis{n, n << 8}}
}

func idOf(sa fakeSA) ha.SAID { return ha.SAID{IKEVersion: 2, SPIi: sa.id[0], SPIr: sa.id[1]} }

// TestFind: an IKE SA is found by its number if that is known, and under another
// number when it has come back: the next one, or any where charon counts anew. One
// that has only begun is in nobody's way.
func TestFind(t *testing.T) {
	one, other := listed(1, 7), listed(2, 8)
	begun := fakeSA{name: "(unnamed)", state: "CREATED", at: anyAddress, unique: 9, id: spis{3, 0}}
	f, c := startFake(t, begun, one, other, listed(4, 10), listed(5, 11))
	find := func(sa fakeSA, unique uint32, asked, listed int) {
		t.Helper()
		got, err := c.find(t.Context(), idOf(sa))
		if unique == 0 && !errors.Is(err, ErrUnknownSA) || unique != 0 && (err != nil || got.Unique != unique) {
			t.Errorf("found %+v, %v; want number %d", got, err, unique)
		}
		if a, l := f.counts(); a != asked || l != listed {
			t.Errorf("charon was asked for one %d times and for all %d times, want %d and %d", a, l, asked, listed)
		}
	}
	find(one, 7, 0, 1)
	find(one, 7, 1, 1)
	find(other, 8, 2, 1) // in the list that the first look needed
	f.set(begun, other)
	find(one, 0, 3, 1)
	c.forget(idOf(one))
	one.unique = 12
	f.set(begun, one, other)
	find(one, 12, 4, 1)
	f.set(begun, listed(6, 12), listed(1, 14)) // another charon
	find(one, 0, 5, 1)
	find(one, 14, 7, 1)
	f.set(listed(6, 1), listed(1, 2)) // and another
	find(one, 0, 8, 1)
	find(one, 2, 12, 2)
}

// TestFindForgets: numbers of those that have gone are not kept for ever.
func TestFindForgets(t *testing.T) {
	one := listed(1, 1)
	f, c := startFake(t, one)
	for range 1000 {
		if _, err := c.find(t.Context(), idOf(one)); err != nil {
			t.Fatal(err)
		}
		one = listed(one.id[0]+1, one.unique+1)
		f.set(one)
	}
	if c.known() > 200 {
		t.Errorf("%d numbers are known of one IKE SA", c.known())
	}
	if _, all := f.counts(); all > 20 {
		t.Errorf("charon was asked for all %d times", all)
	}
}

// TestFindMany: whoever looks at once shares the list of all.
func TestFindMany(t *testing.T) {
	const clients, looks = 50, 20
	var all []fakeSA
	for i := range clients {
		all = append(all, listed(uint64(i+1), uint32(i+1)))
	}
	f, c := startFake(t, all...)
	var wait sync.WaitGroup
	failed := make(chan error, clients)
	for _, sa := range all {
		wait.Go(func() {
			for range looks {
				if got, err := c.find(t.Context(), idOf(sa)); err != nil || got.Unique != sa.unique {
					failed <- fmt.Errorf("found %+v, %v; want number %d", got, err, sa.unique)
					return
				}
			}
		})
	}
	wait.Wait()
	close(failed)
	for err := range failed {
		t.Error(err)
	}
	if asked, listed := f.counts(); asked+listed >= clients*looks/2 {
		t.Errorf("charon was asked %d times for one and %d times for all, for %d looks", asked, listed, clients*looks)
	}
}
