package ikectx

import (
	"bytes"
	"slices"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/ipsecctx"
)

// Claims is what the session would make a gateway responsible for, by the rules
// of [ipsecctx.Session.Claims]: the identity that was authenticated, the node's
// virtual addresses and every remote address that a CHILD SA is for.
func (s *Session) Claims() cxtp.Claims {
	of := ipsecctx.Session{Inner: s.RemoteVirtual, RemoteID: s.RemoteID, EAPIdentity: s.EAPIdentity}
	for i := range s.Children {
		var sa ipsecctx.SA
		for _, t := range s.Children[i].Remote {
			sa.Selectors = append(sa.Selectors, ipsecctx.Selector{Remote: []ipsecctx.Range{t.Range}})
		}
		of.SAs = append(of.SAs, sa)
	}
	return of.Claims()
}

// Clone copies a session and everything that it refers to, so that the copy
// outlives the blocks that s was decoded from.
func (s *Session) Clone() *Session {
	c := *s
	c.LocalID.Data, c.RemoteID.Data = bytes.Clone(s.LocalID.Data), bytes.Clone(s.RemoteID.Data)
	c.EAPIdentity, c.State = bytes.Clone(s.EAPIdentity), bytes.Clone(s.State)
	c.Hashes, c.Additional = slices.Clone(s.Hashes), slices.Clone(s.Additional)
	c.LocalVirtual, c.RemoteVirtual = slices.Clone(s.LocalVirtual), slices.Clone(s.RemoteVirtual)
	c.RemoteAuth = slices.Clone(s.RemoteAuth)
	c.SAs, c.Children = slices.Clone(s.SAs), slices.Clone(s.Children)
	for i := range c.SAs {
		sa := &c.SAs[i]
		sa.PPKID = bytes.Clone(sa.PPKID)
		sa.Exchange.own()
		for _, k := range sa.secrets() {
			*k = secret.Clone(k.Bytes())
		}
	}
	for i := range c.Children {
		child := &c.Children[i]
		child.Local, child.Remote = slices.Clone(child.Local), slices.Clone(child.Remote)
		child.Exchange.own()
		for _, k := range child.Exchange.secrets() {
			*k = secret.Clone(k.Bytes())
		}
	}
	return &c
}

// own replaces what x shares with the one that it was copied from, but for the
// octets of its secrets.
func (x *Exchange) own() {
	x.Ni, x.Nr = bytes.Clone(x.Ni), bytes.Clone(x.Nr)
	x.Additional, x.Secrets = slices.Clone(x.Additional), slices.Clone(x.Secrets)
}

// Clone copies dynamic state with its messages.
func (d *Dynamic) Clone() *Dynamic {
	c := *d
	for _, list := range [...]*[]Message{&c.Requests, &c.Responses} {
		*list = slices.Clone(*list)
		for i := range *list {
			m := &(*list)[i]
			m.Datagrams = slices.Clone(m.Datagrams)
			for j := range m.Datagrams {
				m.Datagrams[j] = bytes.Clone(m.Datagrams[j])
			}
		}
	}
	return &c
}

// secrets lists the key material of an exchange.
func (x *Exchange) secrets() []*secret.Key {
	list := make([]*secret.Key, len(x.Secrets))
	for i := range x.Secrets {
		list[i] = &x.Secrets[i]
	}
	return list
}

// secrets lists the key material of an SA.
func (sa *SA) secrets() []*secret.Key {
	return append(append(sa.Exchange.secrets(), &sa.OldD, &sa.PPK), sa.Keys.list()...)
}

func (k *Keys) list() []*secret.Key {
	return []*secret.Key{&k.D, &k.Ai, &k.Ar, &k.Ei, &k.Er, &k.Pi, &k.Pr}
}

// Wipe overwrites the key material of every generation and every CHILD SA, and
// with it every alias: the copies of the struct, and the blocks that it was
// decoded from.
func (s *Session) Wipe() {
	for i := range s.SAs {
		for _, k := range s.SAs[i].secrets() {
			k.Wipe()
		}
	}
	for i := range s.Children {
		for _, k := range s.Children[i].Exchange.secrets() {
			k.Wipe()
		}
	}
}
