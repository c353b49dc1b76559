package ikectx

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/cxtp/cxtp/features/profile"
)

// View is what an operator may see of a node's IKE SA and of its CHILD SAs: no
// keys. Ages are in whole seconds.
type View struct {
	Connection  string `json:"connection"`
	Identity    string `json:"identity"`               // the node's in IKE, as "fqdn:node.example"
	EAPIdentity string `json:"eap_identity,omitempty"` // the one that EAP authenticated

	// The outer addresses, as the IKE daemon told them last: of a node that has
	// moved since, that may be the one before.
	Local   netip.AddrPort `json:"local"`
	Remote  netip.AddrPort `json:"remote"`
	Virtual []netip.Prefix `json:"virtual,omitempty"` // inner addresses that IKE gave the node

	InitiatorSPI string      `json:"initiator_spi"` // 16 hexadecimal digits, of the generation in use
	ResponderSPI string      `json:"responder_spi"`
	Generation   uint32      `json:"generation"` // 1, and 1 more with each rekey
	Age          int64       `json:"age"`        // of that generation
	Connected    int64       `json:"connected"`  // since the node authenticated
	Children     []ViewChild `json:"children"`
}

// ViewChild is what an operator may see of a CHILD SA.
type ViewChild struct {
	Name     string `json:"name"`
	Inbound  string `json:"inbound"`  // SPI of the SA from the node, 8 hexadecimal digits
	Outbound string `json:"outbound"` // SPI of the SA to the node
	Age      int64  `json:"age"`
}

// View describes the session.
func (s *Session) View() View {
	v := View{
		Connection: s.Connection, Identity: s.RemoteID.String(), Local: s.Local, Remote: s.Remote,
		Virtual: s.RemoteVirtual, Connected: seconds(s.Age), Children: []ViewChild{},
	}
	if len(s.EAPIdentity) > 0 {
		v.EAPIdentity = profile.Printable(s.EAPIdentity)
	}
	if sa := s.Current(); sa != nil {
		v.InitiatorSPI, v.ResponderSPI = fmt.Sprintf("%016x", sa.InitiatorSPI), fmt.Sprintf("%016x", sa.ResponderSPI)
		v.Generation, v.Age = sa.Generation, seconds(sa.Age)
	}
	for i := range s.Children {
		c := &s.Children[i]
		v.Children = append(v.Children, ViewChild{Name: c.Name, Inbound: fmt.Sprintf("%08x", c.Inbound), Outbound: fmt.Sprintf("%08x", c.Outbound), Age: seconds(c.Age)})
	}
	return v
}

func seconds(d time.Duration) int64 { return int64(d / time.Second) }

// ViewDaemon is what an operator may see of an IKE daemon.
type ViewDaemon struct {
	Program  string    `json:"program"`            // "strongswan"
	Release  string    `json:"release,omitempty"`  // as it calls itself; "" = it has not been there yet
	Protocol string    `json:"protocol,omitempty"` // what the agent speaks with it
	Since    time.Time `json:"since,omitzero"`
	Clients  int       `json:"clients"`            // whose IKE SAs are active here
	Reserved int       `json:"reserved,omitempty"` // inner addresses of clients that are at other gateways
	Problem  string    `json:"problem,omitempty"`  // why none can be moved, and what mends it
}
