//go:build linux

package charon

import (
	"fmt"
	"time"

	"github.com/strongswan/govici/vici"
)

// IKESA is an IKE SA as the daemon lists it.
type IKESA struct {
	UniqueID     string             `vici:"uniqueid"`
	State        string             `vici:"state"` // ESTABLISHED, PASSIVE, REKEYING and so on
	LocalHost    string             `vici:"local-host"`
	RemoteHost   string             `vici:"remote-host"`
	RemoteID     string             `vici:"remote-id"`
	InitiatorSPI string             `vici:"initiator-spi"` // 16 hexadecimal digits
	ResponderSPI string             `vici:"responder-spi"`
	LocalVIPs    []string           `vici:"local-vips"`   // inner addresses: a client's own
	RemoteVIPs   []string           `vici:"remote-vips"`  // inner addresses: of a gateway's client
	Active       []string           `vici:"tasks-active"` // exchanges under way, begun here
	Children     map[string]ChildSA `vici:"child-sas"`    // by name and number
}

// ChildSA is a CHILD_SA as the daemon lists it.
type ChildSA struct {
	Name   string `vici:"name"`
	State  string `vici:"state"` // INSTALLED, REKEYING, DELETED and so on
	ReqID  uint32 `vici:"reqid"`
	SPIIn  string `vici:"spi-in"` // 8 hexadecimal digits
	SPIOut string `vici:"spi-out"`
}

// SAs returns the daemon's IKE SAs, the passive ones too.
func (d *Daemon) SAs() ([]IKESA, error) {
	messages, err := d.vici.StreamedCommandRequest("list-sas", "list-sa", nil)
	if err != nil {
		return nil, fmt.Errorf("failed to list the SAs of %s: %w", d.Name, err)
	}
	var all []IKESA
	for _, m := range messages {
		for _, connection := range m.Keys() {
			section, ok := m.Get(connection).(*vici.Message)
			if !ok {
				continue
			}
			var sa IKESA
			if err := vici.UnmarshalMessage(section, &sa); err != nil {
				return nil, fmt.Errorf("failed to read an SA of %s: %w", d.Name, err)
			}
			all = append(all, sa)
		}
	}
	return all, nil
}

// patience is how long a daemon may take to start, or a client to connect, on a
// busy machine.
const patience = time.Minute

// Initiate connects a child and returns when it is up.
func (d *Daemon) Initiate(child string) error {
	return d.control("initiate", map[string]any{"child": child, "timeout": patience.Milliseconds()})
}

// Rekey begins to rekey SAs, which by tells how to find: "ike" and "child" by
// name, "ike-id" and "child-id" by number. The exchanges then take their time.
func (d *Daemon) Rekey(by, name string) error {
	return d.control("rekey", map[string]any{by: name})
}

// Terminate ends SAs, found as by [Daemon.Rekey], and returns when the peer has
// confirmed it.
func (d *Daemon) Terminate(by, name string) error {
	return d.control("terminate", map[string]any{by: name})
}

func (d *Daemon) control(command string, with map[string]any) error {
	in, err := vici.MarshalMessage(with)
	if err == nil {
		_, err = d.vici.CommandRequest(command, in)
	}
	if err != nil {
		return fmt.Errorf("failed to %s %v at %s: %w", command, with, d.Name, err)
	}
	return nil
}
