package cxtp

import (
	"net/netip"

	"github.com/cxtp/cxtp/cxtp/secret"
)

// NumberedKey is a token key in a node's list. Each is used for one move.
type NumberedKey struct {
	Number uint32 // ascending along the list
	Key    secret.Key
}

// NodeState is what the engine itself knows of a node and what therefore moves
// with the session, as a block of type FPTNode.
type NodeState struct {
	Agent     netip.AddrPort // where the node's agent takes updates; zero = no agent
	UpdateKey secret.Key     // authenticates updates; zero = no agent
	Tokens    []NumberedKey  // token keys that are still unused
}
