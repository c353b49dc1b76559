package ipsecctx

import (
	"slices"

	"github.com/cxtp/cxtp/cxtp/secret"
)

// Clone copies a session and everything that it refers to, so that the copy
// outlives the blocks that s was decoded from.
func (s *Session) Clone() *Session {
	c := *s
	c.Inner = slices.Clone(s.Inner)
	c.LocalID.Data = slices.Clone(s.LocalID.Data)
	c.RemoteID.Data = slices.Clone(s.RemoteID.Data)
	c.EAPIdentity = slices.Clone(s.EAPIdentity)
	c.SAs = slices.Clone(s.SAs)
	for i := range c.SAs {
		c.SAs[i].own()
	}
	return &c
}

// own replaces what sa shares with the one that it was copied from.
func (sa *SA) own() {
	for _, k := range sa.secrets() {
		*k = secret.Clone(k.Bytes())
	}
	sa.DSCP = slices.Clone(sa.DSCP)
	sa.MapDSCP = slices.Clone(sa.MapDSCP)
	sa.Selectors = slices.Clone(sa.Selectors)
	for i := range sa.Selectors {
		sel := &sa.Selectors[i]
		sel.Local = slices.Clone(sel.Local)
		sel.Remote = slices.Clone(sel.Remote)
		sel.Name.Data = slices.Clone(sel.Name.Data)
		sel.Sensitivity = slices.Clone(sel.Sensitivity)
	}
}

// secrets lists the key material of an SA.
func (sa *SA) secrets() [4]*secret.Key {
	return [...]*secret.Key{&sa.Encryption.Key, &sa.Encryption.Salt, &sa.Encryption.ChainIV, &sa.Integrity.Key}
}

// Wipe overwrites the keys of every SA, and with them every alias: the copies
// of the struct, and the blocks that it was decoded from.
func (s *Session) Wipe() {
	for i := range s.SAs {
		for _, k := range s.SAs[i].secrets() {
			k.Wipe()
		}
	}
}
