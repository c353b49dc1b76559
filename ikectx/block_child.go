package ikectx

import (
	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features/profile"
	"github.com/cxtp/cxtp/ipsecctx"
)

// The fields of the CHILD block (IKE profile section 6) in the order of their
// presence bits.
const (
	childGeneration = iota
	childProtocol
	childInbound
	childOutbound
	childReplaces
	childMode
	childFlags
	childIPComp
	childCipher
	childCipherBits
	childIntegrity
	childMethod // the fields of an exchange
	childAdditional
	childNi
	childNr
	childSecrets
	childLocal
	childRemote
	childName
	childAge
	childRekey
)

var childLayout = profile.NewLayout(cxtp.FPTIKEChild, "IKE CHILD block",
	[]int{childGeneration, childInbound, childOutbound, childLocal, childRemote},
	[]string{
		childGeneration: "generation",
		childProtocol:   "protocol",
		childInbound:    "inbound SPI",
		childOutbound:   "outbound SPI",
		childReplaces:   "replaces",
		childMode:       "mode",
		childFlags:      "flags",
		childIPComp:     "IPComp",
		childCipher:     "encryption transform",
		childCipherBits: "encryption key length",
		childIntegrity:  "integrity transform",
		childMethod:     "key exchange",
		childAdditional: "additional key exchanges",
		childNi:         "Ni",
		childNr:         "Nr",
		childSecrets:    "shared secrets",
		childLocal:      "local traffic selectors",
		childRemote:     "remote traffic selectors",
		childName:       "name",
		childAge:        "age",
		childRekey:      "rekey",
	})

func (c *Child) flags() []flag {
	return []flag{
		{0x80, "initiator", &c.Initiator},
		{0x40, "ESN", &c.ESN},
		{0x20, "no TFC padding", &c.NoTFC},
		{0x10, "non-first fragments", &c.Fragments},
	}
}

// encode appends the block's data to arena.
func (c *Child) encode(arena []byte) (cxtp.CDB, error) {
	w := writer{profile.NewWriter(childLayout, arena)}
	w.U32(childGeneration, c.Generation, 0)
	w.U8(childProtocol, uint8(c.Protocol), uint8(ipsecctx.ESP))
	w.U32(childInbound, c.Inbound, 0)
	w.U32(childOutbound, c.Outbound, 0)
	w.U32(childReplaces, c.Replaces, 0)
	w.U8(childMode, uint8(c.Mode), uint8(ipsecctx.Tunnel))
	w.flags(childFlags, c.flags())
	if c.IPComp != (IPComp{}) {
		w.Mark(childIPComp)
		w.Put(c.IPComp.Transform)
		w.Put16(c.IPComp.Inbound)
		w.Put16(c.IPComp.Outbound)
	}
	w.U16(childCipher, c.Encryption.ID, 0)
	w.U16(childCipherBits, c.Encryption.Bits, 0)
	w.U16(childIntegrity, c.Integrity, 0)
	w.exchange(childMethod, &c.Exchange)
	w.selectors(childLocal, c.Local)
	w.selectors(childRemote, c.Remote)
	w.Octets(childName, []byte(c.Name))
	w.Age(childAge, c.Age)
	w.Limit(childRekey, c.Rekey)
	return w.Finish(c.String)
}

// read reads the block into c, which is zero.
func (c *Child) read(r *reader) {
	c.Generation = r.U32(childGeneration, 0)
	c.Protocol = ipsecctx.Protocol(r.U8(childProtocol, uint8(ipsecctx.ESP)))
	c.Inbound, c.Outbound = r.U32(childInbound, 0), r.U32(childOutbound, 0)
	c.Replaces = r.U32(childReplaces, 0)
	c.Mode = ipsecctx.Mode(r.U8(childMode, uint8(ipsecctx.Tunnel)))
	r.flags(childFlags, c.flags())
	if r.Has(childIPComp) {
		c.IPComp = IPComp{Transform: r.Next8(), Inbound: r.Next16(), Outbound: r.Next16()}
	}
	c.Encryption = Cipher{ID: r.U16(childCipher, 0), Bits: r.U16(childCipherBits, 0)}
	c.Integrity = r.U16(childIntegrity, 0)
	c.Exchange = r.exchange(childMethod)
	c.Local, c.Remote = r.selectors(childLocal), r.selectors(childRemote)
	c.Name = string(r.Octets(childName))
	c.Age, c.Rekey = r.Seconds(childAge), r.Seconds(childRekey)
}
