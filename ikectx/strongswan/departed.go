package strongswan

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"slices"
	"sync"
)

// departed are the inner addresses of clients that are at other gateways: they are
// theirs as long as somebody answers for them, and nobody here may get one of them.
// They are written down, with no keys: the sessions live on when this machine is
// started again. What is lost with its power is an address that is given back late,
// or early.
type departed struct {
	path string // "" = they are remembered in memory alone

	mu sync.Mutex
	of map[netip.Addr]string // the connection whose pools they are from
	// unanswered is how often in a row nobody has answered for one.
	unanswered map[netip.Addr]int
}

// openDeparted reads what an agent before has written down.
func openDeparted(path string) (*departed, error) {
	d := &departed{path: path, of: map[netip.Addr]string{}, unanswered: map[netip.Addr]int{}}
	if path == "" {
		return d, nil
	}
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && len(text) == 0:
		return d, nil
	case err != nil:
		return nil, fmt.Errorf("failed to read which inner addresses are reserved: %w", err)
	}
	if err := json.Unmarshal(text, &d.of); err != nil {
		return nil, fmt.Errorf("somebody has changed %s, remove it to reserve no inner addresses: %w", path, err)
	}
	return d, nil
}

// add notes a client's addresses when it leaves.
func (d *departed) add(connection string, addrs []netip.Addr) error {
	return d.change(func() (news bool) {
		for _, a := range addrs {
			if !madeUp.Contains(a) && d.of[a] != connection {
				d.of[a], news = connection, true
			}
		}
		return news
	})
}

// drop forgets addresses: their client is here, or nowhere.
func (d *departed) drop(addrs ...netip.Addr) error {
	return d.change(func() (news bool) {
		for _, a := range addrs {
			_, was := d.of[a]
			delete(d.of, a)
			delete(d.unanswered, a)
			news = news || was
		}
		return news
	})
}

// change writes the addresses down if they have become others. A crash leaves the old
// file, or the new.
func (d *departed) change(how func() bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !how() || d.path == "" {
		return nil
	}
	text, err := json.Marshal(d.of)
	draft := d.path + ".new"
	if err == nil {
		err = os.WriteFile(draft, append(text, '\n'), 0o600)
	}
	if err == nil {
		err = os.Rename(draft, d.path)
	}
	if err != nil {
		return fmt.Errorf("failed to write down which inner addresses are reserved: %w", err)
	}
	return nil
}

// any reports whether one of the addresses is noted.
func (d *departed) any(addrs []netip.Addr) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.ContainsFunc(addrs, func(a netip.Addr) bool { return d.of[a] != "" })
}

// list is all of them, by the connection.
func (d *departed) list() map[string][]netip.Addr {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := map[string][]netip.Addr{}
	for _, a := range slices.SortedFunc(maps.Keys(d.of), netip.Addr.Compare) {
		all[d.of[a]] = append(all[d.of[a]], a)
	}
	return all
}

// count is how many there are.
func (d *departed) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.of)
}

// missedOften is how often in a row nobody answers for an address before it is nobody's:
// of a client that is on its way between other gateways, nobody does for a moment.
const missedOften = 3

// asked notes whether somebody has answered for an address, and reports whether it is
// nobody's by now.
func (d *departed) asked(a netip.Addr, answered bool) (nobodys bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, still := d.of[a]; !still || answered {
		delete(d.unanswered, a)
		return false
	}
	d.unanswered[a]++
	return d.unanswered[a] >= missedOften
}
