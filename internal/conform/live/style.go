package live

import (
	"bytes"
	"crypto/rand"
	"slices"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
)

// style is how a transfer of contexts is carried through to its end.
type style interface {
	// accept takes, as the nAR, what the router has begun to give with this CTD, to
	// the end: the router has it no more. proof is the request that proves the node's
	// wish, for a CTD that came without one; nil = it has been shown.
	accept(t *trial, n *node, first *cxtp.CTD, proof *cxtp.CTReq) *holding

	// offer gives, as the pAR, contexts to the router, which has them then and waits for
	// the node's token, made with the key. ack: a CTDR is wanted.
	offer(t *trial, h *holding, key secret.Key, ack bool)

	// finish carries through what the router has taken once the node's token has
	// verified there.
	finish(t *trial, h *holding)
}

// holding is what the router has given to the prober.
type holding struct {
	node  *node
	data  []cxtp.CDB // the contexts
	moved *profiledMove
}

// plain is RFC 4067 alone.
type plain struct{}

// accept says that all was received.
func (plain) accept(t *trial, n *node, first *cxtp.CTD, _ *cxtp.CTReq) *holding {
	if first.Ack {
		t.send(&cxtp.CTDR{Success: true, Previous: n.previous})
	}
	return &holding{node: n, data: kept(first.Blocks)}
}

// offer sends a PCTD (section 2.5.3), and waits until the router has it: the node's
// request, which goes another way, must not overtake it.
func (plain) offer(t *trial, h *holding, key secret.Key, ack bool) {
	t.send(&cxtp.CTD{Predictive: true, Ack: ack, Previous: h.node.previous,
		Algorithm: cxtp.AlgorithmHMACSHA1, Key: key, Blocks: h.data})
	if !ack {
		t.pause(t.quiet())
		return
	}
	t.inbox.putBack(t.await("the CTDR about the contexts", is[cxtp.CTDR](h.node.previous)))
}

// finish has nothing to do: the router has everything.
func (plain) finish(*trial, *holding) {}

// kept copies blocks out of the inbox.
func kept(blocks []cxtp.CDB) []cxtp.CDB {
	blocks = slices.Clone(blocks)
	for i := range blocks {
		blocks[i].Data = bytes.Clone(blocks[i].Data)
	}
	return blocks
}

// freshKey is a token key that nobody has used.
func freshKey() secret.Key {
	octets := make([]byte, 20)
	rand.Read(octets)
	return secret.New(octets)
}
