package profile

import (
	"sync"

	"github.com/cxtp/cxtp/cxtp"
)

// Appender collects the blocks of several writers until the first failure. Their
// data go to an arena, which is used as far as its capacity goes; beyond it, new
// memory is taken rather than what is there copied, because what is there is
// keys.
type Appender struct {
	Blocks []cxtp.CDB
	Arena  []byte
	err    error
}

// Add appends the block that encode appends to the arena.
func (a *Appender) Add(encode func(arena []byte) (cxtp.CDB, error)) {
	if a.err != nil {
		return
	}
	a.Arena = reserve(a.Arena)
	block, err := encode(a.Arena)
	if err != nil {
		a.err = err
		return
	}
	a.Blocks = append(a.Blocks, block)
	a.Arena = a.Arena[:len(a.Arena)+len(block.Data)]
}

// Result gives what was collected behind blocks and arena, which were there at
// the start; after a failure it wipes that and gives back what was there.
func (a *Appender) Result(blocks []cxtp.CDB, arena []byte) ([]cxtp.CDB, []byte, error) {
	if a.err == nil {
		return a.Blocks, a.Arena, nil
	}
	for _, b := range a.Blocks[len(blocks):] {
		clear(b.Data)
	}
	return blocks, arena, a.err
}

// reserve makes room for one block without moving what is in the arena.
func reserve(arena []byte) []byte {
	if cap(arena)-len(arena) < MaxData {
		return make([]byte, 0, 2*MaxData)
	}
	return arena
}

// arenas have room for the blocks of a usual session. What is in the pool has
// been wiped.
var arenas = sync.Pool{New: func() any { return new([4 * MaxData]byte) }}

// Encode has n blocks appended in an arena that is lent, moves their data to
// where they have no more room than they need, and wipes where they were.
func Encode(n int, add func([]cxtp.CDB, []byte) ([]cxtp.CDB, []byte, error)) ([]cxtp.CDB, error) {
	arena := arenas.Get().(*[4 * MaxData]byte)
	defer arenas.Put(arena)
	blocks, _, err := add(make([]cxtp.CDB, 0, n), arena[:0])
	if err != nil {
		return nil, err
	}
	lent := make([][]byte, 0, 8) // on the stack, of a usual session
	for _, b := range blocks {
		lent = append(lent, b.Data)
	}
	Own(blocks)
	for _, data := range lent {
		clear(data)
	}
	return blocks, nil
}

// Own copies the data of blocks to memory of their own, no more than it takes.
func Own(blocks []cxtp.CDB) {
	octets := 0
	for _, b := range blocks {
		octets += len(b.Data)
	}
	all := make([]byte, 0, octets)
	for i, b := range blocks {
		all = append(all, b.Data...)
		blocks[i].Data = all[len(all)-len(b.Data) : len(all) : len(all)]
	}
}
