package uapi

import (
	"net/netip"

	"pgregory.net/rapid"

	"github.com/cxtp/cxtp/cxtp/secret"
)

// Generators of what the codec can carry. The values need not make sense to a
// kernel.

func anyOf[T ~uint8 | ~uint16 | ~uint32 | ~uint64](t *rapid.T, label string) T {
	return T(rapid.OneOf(rapid.Uint64(), rapid.SampledFrom([]uint64{0, 1, 1<<32 - 1, 1 << 32, ^uint64(0)})).Draw(t, label))
}

func optional[T any](t *rapid.T, label string, draw func() T) *T {
	if !rapid.Bool().Draw(t, "with "+label) {
		return nil
	}
	return new(draw())
}

func octets(t *rapid.T, label string, least, most int) []byte {
	return rapid.SliceOfN(rapid.Byte(), least, most).Draw(t, label)
}

func anyFamily(t *rapid.T) Family {
	return rapid.SampledFrom([]Family{IPv4, IPv6}).Draw(t, "family")
}

func anyAddr(t *rapid.T, f Family) netip.Addr {
	if f == IPv4 {
		return netip.AddrFrom4([4]byte(octets(t, "IPv4 address", 4, 4)))
	}
	return netip.AddrFrom16([16]byte(octets(t, "IPv6 address", 16, 16)))
}

// optionalAddr is an address that is specified, or the zero Addr.
func optionalAddr(t *rapid.T, f Family) netip.Addr {
	if a := anyAddr(t, f); rapid.Bool().Draw(t, "with address") && !a.IsUnspecified() {
		return a
	}
	return netip.Addr{}
}

func anySelector(t *rapid.T) Selector {
	s := Selector{
		Family:  rapid.SampledFrom([]Family{FamilyAny, IPv4, IPv6}).Draw(t, "selector's family"),
		SrcPort: anyOf[uint16](t, "source port"), DstPort: anyOf[uint16](t, "destination port"),
		SrcMask: anyOf[uint16](t, "source mask"), DstMask: anyOf[uint16](t, "destination mask"),
		Proto: anyOf[uint8](t, "protocol"), IfIndex: int32(anyOf[uint32](t, "interface")), User: anyOf[uint32](t, "user"),
	}
	prefix := func() netip.Prefix {
		if s.Family == FamilyAny {
			return netip.Prefix{}
		}
		a := anyAddr(t, s.Family)
		return netip.PrefixFrom(a, rapid.IntRange(0, a.BitLen()).Draw(t, "prefix length"))
	}
	s.Src, s.Dst = prefix(), prefix()
	return s
}

func anyLimits(t *rapid.T) Limits {
	v := func() uint64 { return anyOf[uint64](t, "limit") }
	return Limits{v(), v(), v(), v(), v(), v(), v(), v()}
}

func anyUsage(t *rapid.T) Usage {
	v := func() uint64 { return anyOf[uint64](t, "usage") }
	return Usage{v(), v(), v(), v()}
}

func anyMark(t *rapid.T) Mark {
	return Mark{anyOf[uint32](t, "mark"), anyOf[uint32](t, "mask")}
}

func anyReplay(t *rapid.T) Replay {
	if !rapid.Bool().Draw(t, "extended") {
		return Replay{
			OSeq: uint64(anyOf[uint32](t, "oseq")), Seq: uint64(anyOf[uint32](t, "seq")),
			Window: rapid.Uint32Range(0, MaxLegacyWindow).Draw(t, "window"),
			Bitmap: []uint32{anyOf[uint32](t, "bitmap")},
		}
	}
	window := rapid.Uint32Range(0, MaxWindow).Draw(t, "window")
	words := rapid.IntRange((int(window)+wordBits-1)/wordBits, MaxWindow/wordBits).Draw(t, "words")
	return Replay{
		Extended: true, OSeq: anyOf[uint64](t, "oseq"), Seq: anyOf[uint64](t, "seq"),
		Window: window, Bitmap: rapid.SliceOfN(rapid.Uint32(), words, words).Draw(t, "bitmap"),
	}
}

func anyThresholds(t *rapid.T) Thresholds {
	v := func() uint32 { return anyOf[uint32](t, "threshold") }
	return Thresholds{optional(t, "replay threshold", v), optional(t, "timer threshold", v), v()}
}

func anyName(t *rapid.T) string {
	return rapid.StringMatching(`[a-z0-9(),_]{1,63}`).Draw(t, "name")
}

func anyKey(t *rapid.T) secret.Key { return secret.Clone(octets(t, "key", 0, 80)) }

func anySecCtx(t *rapid.T) *SecCtx {
	return optional(t, "label", func() SecCtx {
		return SecCtx{anyOf[uint8](t, "DOI"), anyOf[uint8](t, "module"), octets(t, "label", 0, 40)}
	})
}

func anyOffload(t *rapid.T) *Offload {
	return optional(t, "offload", func() Offload {
		return Offload{int32(anyOf[uint32](t, "interface")), anyOf[uint8](t, "flags")}
	})
}

// anyUnknown are attributes of types that the codec has no field for, in the
// order in which they are read.
func anyUnknown(t *rapid.T) []Attr {
	var list []Attr
	for _, kind := range []uint16{13, 36, 41, 63, 64, 0x8001} {
		if rapid.Bool().Draw(t, "with unknown") {
			list = append(list, Attr{kind, octets(t, "unknown", 0, 20)})
		}
	}
	return list
}

func anyState(t *rapid.T) *State {
	f := anyFamily(t)
	s := &State{
		Src: anyAddr(t, f), Dst: anyAddr(t, f), Proto: anyOf[Proto](t, "protocol"), SPI: anyOf[uint32](t, "SPI"),
		Mode: anyOf[Mode](t, "mode"), Selector: anySelector(t), ReqID: anyOf[uint32](t, "request id"),
		Flags: anyOf[StateFlags](t, "flags"), ExtraFlags: anyOf[StateExtraFlags](t, "extra flags"),
		Dir: anyOf[StateDir](t, "direction"), Mark: anyMark(t), OutputMark: anyMark(t), IfID: anyOf[uint32](t, "interface id"),
		Replay: anyReplay(t), Limits: anyLimits(t), Used: anyUsage(t), Thresholds: anyThresholds(t),
		TFCPad: anyOf[uint32](t, "padding"), PCPU: optional(t, "CPU", func() uint32 { return anyOf[uint32](t, "CPU") }),
		NATKeepalive: anyOf[uint32](t, "keepalive"), SecCtx: anySecCtx(t), Offload: anyOffload(t),
		Seq: anyOf[uint32](t, "number"), Unknown: anyUnknown(t),
	}
	s.AEAD = optional(t, "AEAD", func() AEAD { return AEAD{anyName(t), anyKey(t), anyOf[uint32](t, "ICV")} })
	s.Auth = optional(t, "integrity", func() Auth { return Auth{anyName(t), anyKey(t), anyOf[uint32](t, "ICV")} })
	s.Crypt = optional(t, "cipher", func() Cipher { return Cipher{anyName(t), anyKey(t)} })
	if rapid.Bool().Draw(t, "with compression") {
		s.Comp = anyName(t)
	}
	s.Encap = optional(t, "encapsulation", func() Encap {
		return Encap{anyOf[EncapType](t, "type"), anyOf[uint16](t, "port"), anyOf[uint16](t, "port"), optionalAddr(t, f)}
	})
	if rapid.Bool().Draw(t, "with care-of address") {
		s.CoAddr = anyAddr(t, f)
	}
	return s
}

func anyTemplate(t *rapid.T) Template {
	f := anyFamily(t)
	v := func() uint32 { return anyOf[uint32](t, "number") }
	return Template{
		Family: f, Src: optionalAddr(t, f), Dst: optionalAddr(t, f), SPI: v(), Proto: anyOf[Proto](t, "protocol"),
		Mode: anyOf[Mode](t, "mode"), ReqID: v(), Share: anyOf[uint8](t, "share"), Optional: anyOf[uint8](t, "optional"),
		AuthAlgs: v(), CryptAlgs: v(), CompAlgs: v(),
	}
}

func anyPolicy(t *rapid.T) *Policy {
	p := &Policy{
		Selector: anySelector(t), Dir: anyOf[Dir](t, "direction"), Index: anyOf[uint32](t, "index"),
		Priority: anyOf[uint32](t, "priority"), Action: anyOf[Action](t, "action"), Flags: anyOf[uint8](t, "flags"),
		Share: anyOf[uint8](t, "share"), Type: anyOf[PolicyType](t, "type"), Mark: anyMark(t), IfID: anyOf[uint32](t, "interface id"),
		Limits: anyLimits(t), SecCtx: anySecCtx(t), Offload: anyOffload(t), Unknown: anyUnknown(t),
	}
	for range rapid.IntRange(0, 6).Draw(t, "templates") {
		p.Templates = append(p.Templates, anyTemplate(t))
	}
	return p
}

func anyStateID(t *rapid.T) StateID {
	return StateID{Dst: anyAddr(t, anyFamily(t)), SPI: anyOf[uint32](t, "SPI"), Proto: anyOf[Proto](t, "protocol"), Mark: anyMark(t)}
}

func anyAEvent(t *rapid.T) *AEvent {
	id := anyStateID(t)
	e := &AEvent{
		ID: id, Src: anyAddr(t, familyOf(id.Dst)), ReqID: anyOf[uint32](t, "request id"),
		Flags: anyOf[AEventFlags](t, "flags"), Thresholds: anyThresholds(t), IfID: anyOf[uint32](t, "interface id"),
		Unknown: anyUnknown(t),
	}
	e.Replay = optional(t, "sequence state", func() Replay { return anyReplay(t) })
	if e.Replay != nil && !e.Replay.Extended {
		e.Replay.Window = 0 // not told here
	}
	if used := anyUsage(t); used != (Usage{}) && rapid.Bool().Draw(t, "with usage") {
		e.Used = &used
	}
	return e
}
