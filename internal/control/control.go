// Package control is what the daemon and its tools say to each other: HTTP with
// JSON over a Unix socket. The socket's mode is its access control; nothing
// listens on a network.
package control

import (
	"net/netip"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features/mld"
	"github.com/cxtp/cxtp/ikectx"
)

// Paths of the daemon's control interface.
const (
	PathStatus   = "/v1/status"   // GET: Status
	PathSessions = "/v1/sessions" // GET: []Session; POST: NewSession, answered by Result
	PathHandover = "/v1/handover" // POST: Handover, answered by a stream of Progress, one JSON document a line
	PathCancel   = "/v1/cancel"   // POST: Cancel, answered by Result
	PathRekey    = "/v1/rekey"    // POST: Rekey, answered by Result
	PathStandby  = "/v1/standby"  // POST: Standby, answered as a Handover is
	PathResolve  = "/v1/resolve"  // POST: Resolve, answered as a Handover is
	PathDrain    = "/v1/drain"    // POST: Drain, answered by Result
	PathTrace    = "/v1/trace"    // GET ?after=N: []TraceEvent with a number above N
)

// Status is the daemon at a glance.
type Status struct {
	Router   cxtp.RouterID     `json:"router"`
	Version  string            `json:"version"`
	Started  time.Time         `json:"started"`
	Sessions int               `json:"sessions"`
	Peers    []PeerStatus      `json:"peers"`
	Counters map[string]uint64 `json:"counters"` // from the gateway, the transport and the journal
	Notes    []string          `json:"notes,omitempty"`
	Drained  time.Time         `json:"drained,omitzero"` // since when it takes no sessions; zero = it does

	IKE *ikectx.ViewDaemon `json:"ike,omitempty"` // the IKE daemon beside this one
}

// Session is what an operator may see of a session: no keys.
type Session struct {
	cxtp.View
	IKE    *ikectx.View `json:"ike,omitempty"`    // of a session that an IKE daemon has begun
	Groups []mld.View   `json:"groups,omitempty"` // that its node listens to
}

// PeerStatus is one peer's connection.
type PeerStatus struct {
	Peer     cxtp.RouterID `json:"peer"`
	Endpoint string        `json:"endpoint"`
	Up       bool          `json:"up"`
	Sent     uint64        `json:"sent"`
	Received uint64        `json:"received"`
	Error    string        `json:"error,omitempty"` // why it is down, where known
}

// Handover asks for a move. With To, this daemon is the source; with From, the
// target, and Previous names the node.
type Handover struct {
	Session  cxtp.SessionID `json:"session,omitzero"`
	Previous netip.Addr     `json:"previous,omitzero"` // instead of Session, where it is unambiguous
	To       cxtp.RouterID  `json:"to,omitempty"`
	From     cxtp.RouterID  `json:"from,omitempty"`
	Stage    bool           `json:"stage,omitempty"` // stage only
	Force    bool           `json:"force,omitempty"` // also where the node would be left behind
}

// Progress is a report on a move; the last one has Final set.
type Progress struct {
	Time     time.Time            `json:"time"`
	Session  cxtp.SessionID       `json:"session"`
	Epoch    cxtp.Epoch           `json:"epoch"`
	Event    cxtp.Event           `json:"event"`
	Peer     cxtp.RouterID        `json:"peer,omitempty"`
	Statuses []cxtp.ContextStatus `json:"statuses,omitempty"`
	Detail   string               `json:"detail,omitempty"`
	Final    bool                 `json:"final,omitempty"`
}

// Cancel gives up a move that has not been granted.
type Cancel struct {
	Session cxtp.SessionID `json:"session"`
}

// Rekey has the IKE daemon beside the gateway rekey a session's CHILD SAs.
type Rekey struct {
	Session cxtp.SessionID `json:"session"`
}

// Drain closes the gateway to new sessions, because those that are here go to
// another router; no To opens it again. It outlives the daemon, and moves nothing.
type Drain struct {
	To cxtp.RouterID `json:"to,omitempty"`
}

// Standby asks for a copy of a session to be kept fresh at another router; no To
// means nowhere any more.
type Standby struct {
	Session cxtp.SessionID `json:"session"`
	To      cxtp.RouterID  `json:"to,omitempty"`
}

// Resolve is the operator's word that another router is powered off and what it
// held of the session is gone.
type Resolve struct {
	Session cxtp.SessionID `json:"session"`
	Fenced  cxtp.RouterID  `json:"fenced"`
}

// Result is the answer to a request that changes something.
type Result struct {
	Session cxtp.SessionID `json:"session,omitzero"`
	Error   string         `json:"error,omitempty"`
}

// TraceEvent is one step of the machine's work, for ladders: no secrets.
type TraceEvent struct {
	Number  uint64         `json:"number"`
	Time    time.Time      `json:"time"`
	Session cxtp.SessionID `json:"session,omitzero"`
	Epoch   cxtp.Epoch     `json:"epoch,omitempty"`
	Kind    string         `json:"kind"` // "send", "receive", "send-node", "receive-node", "begin", "end", "report"
	Peer    string         `json:"peer,omitempty"`
	What    string         `json:"what"` // "PCTD stage", "Outcome staged", "freeze", "persist granted", "steer"
	Detail  string         `json:"detail,omitempty"`
}

// NewSession installs a session that begins at this gateway with manual keys,
// which travel in it in hexadecimal: over the Unix socket, and nowhere else.
type NewSession struct {
	Session   cxtp.SessionID `json:"session"`
	Previous  netip.Addr     `json:"previous"`
	Agent     netip.AddrPort `json:"agent,omitzero"` // port 0: by ICMP
	UpdateKey string         `json:"update_key,omitempty"`
	Tokens    []NewToken     `json:"tokens,omitempty"`
	// TokenAlgorithm is how the node makes its tokens, "hmac-sha256" or RFC 4067's
	// "hmac-sha1". By default a node with an agent makes the former, any other the
	// latter.
	TokenAlgorithm cxtp.Algorithm `json:"token_algorithm,omitzero"`
	Identity       string         `json:"identity"` // FQDN of the node
	Inner          []netip.Prefix `json:"inner"`
	SAs            []NewSA        `json:"sas"`
	Groups         []NewGroup     `json:"groups,omitempty"` // a session may have these alone
}

// NewGroup is a multicast group that the node listens to.
type NewGroup struct {
	Prefix netip.Prefix `json:"prefix"` // of the link that it is on, a /64
	Group  netip.Addr   `json:"group"`
}

// NewToken is a numbered token key.
type NewToken struct {
	Number uint32 `json:"number"`
	Key    string `json:"key"`
}

// NewSA is one SA, seen from the gateway. With ports it is ESP in UDP; without
// (port 0 at both ends), ESP or AH alone.
type NewSA struct {
	Outbound     bool           `json:"outbound"`
	Protocol     uint8          `json:"protocol,omitempty"`  // 50 (ESP, the default) or 51 (AH)
	Transport    bool           `json:"transport,omitempty"` // transport mode; the default is tunnel mode
	SPI          uint32         `json:"spi"`
	Gateway      netip.AddrPort `json:"gateway"` // outer address and port of this gateway
	Node         netip.AddrPort `json:"node"`    // outer address and port of the node
	Encryption   uint16         `json:"encryption"`
	KeyBits      uint16         `json:"key_bits,omitempty"`
	Key          string         `json:"key"`
	Salt         string         `json:"salt,omitempty"`
	Integrity    uint16         `json:"integrity,omitempty"`
	IntegrityKey string         `json:"integrity_key,omitempty"`
	ESN          bool           `json:"esn"`
	Window       uint32         `json:"window"`
	Sequence     uint64         `json:"sequence"` // last number used
	Local        []netip.Prefix `json:"local"`    // what lies behind the gateway; empty = any
}
