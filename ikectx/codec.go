package ikectx

import (
	"cmp"
	"errors"
	"slices"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
	"github.com/cxtp/cxtp/features/profile"
)

// EncodeSession makes the static context blocks of s: the session block, one
// block for each SA, one for each CHILD SA, in order. The blocks have memory of
// their own.
//
// The error is a [features.Error]: a field without a default has no value, or
// something is [profile.ErrTooLarge].
func EncodeSession(s *Session) ([]cxtp.CDB, error) {
	return profile.Encode(1+len(s.SAs)+len(s.Children), func(blocks []cxtp.CDB, arena []byte) ([]cxtp.CDB, []byte, error) {
		a := profile.Appender{Blocks: blocks, Arena: arena}
		a.Add(s.encode)
		for i := range s.SAs {
			a.Add(s.SAs[i].encode)
		}
		for i := range s.Children {
			a.Add(s.Children[i].encode)
		}
		return a.Result(blocks, arena)
	})
}

// EncodeDynamic makes the block of d. Where it is too large the octets of
// responses are left out, the oldest first: the node may never ask for them. A
// request that has no room is an error, as with [EncodeSession].
func EncodeDynamic(d *Dynamic) ([]cxtp.CDB, error) {
	for less := *d; ; {
		blocks, err := profile.Encode(1, func(blocks []cxtp.CDB, arena []byte) ([]cxtp.CDB, []byte, error) {
			a := profile.Appender{Blocks: blocks, Arena: arena}
			a.Add(less.encode)
			return a.Result(blocks, arena)
		})
		oldest := slices.IndexFunc(less.Responses, func(m Message) bool { return len(m.Datagrams) > 0 })
		if !errors.Is(err, profile.ErrTooLarge) || oldest < 0 {
			return blocks, err
		}
		less.Responses = slices.Clone(less.Responses)
		less.Responses[oldest].Datagrams = nil
	}
}

// DecodeSession reads the static contexts among blocks, in whatever order; the
// blocks of other context types are left alone. SAs come back by generation,
// CHILD SAs in the order of their blocks.
//
// Keys, identities and nonces alias the blocks: whoever keeps the session longer
// than them takes a [Session.Clone], and wiping one wipes the other.
//
// The error is a [features.Error] with the status for the other gateway, around
// a [cxtp.ParseError] where an octet is to blame. DecodeSession checks the form;
// [Session.Validate] checks the meaning.
func DecodeSession(blocks []cxtp.CDB) (*Session, error) {
	s := new(Session)
	sas, children, seen := 0, 0, false
	for i := range blocks {
		b := &blocks[i]
		var r reader
		switch b.FPT {
		case cxtp.FPTIKESession:
			if seen {
				return nil, malformed(b.FPT, "two session blocks: a context has one")
			}
			r.Open(b, sessionLayout)
			sas, children = s.read(&r)
			seen = true
		case cxtp.FPTIKESA:
			var sa SA
			r.Open(b, saLayout)
			sa.read(&r)
			s.SAs = append(s.SAs, sa)
		case cxtp.FPTIKEChild:
			var c Child
			r.Open(b, childLayout)
			c.read(&r)
			s.Children = append(s.Children, c)
		default:
			continue
		}
		if err := r.Finish(); err != nil {
			return nil, err
		}
	}
	switch {
	case !seen:
		return nil, malformed(cxtp.FPTIKESession, "no session block")
	case sas != len(s.SAs):
		return nil, malformed(cxtp.FPTIKESession, "%d SA blocks, the session block announces %d", len(s.SAs), sas)
	case children != len(s.Children):
		return nil, malformed(cxtp.FPTIKESession, "%d CHILD blocks, the session block announces %d", len(s.Children), children)
	}
	slices.SortFunc(s.SAs, func(a, b SA) int { return cmp.Compare(a.Generation, b.Generation) })
	return s, nil
}

// DecodeDynamic reads the dynamic context among blocks, of which there is one;
// the blocks of other context types are left alone. Messages alias the blocks.
// Errors are as with [DecodeSession]: without a block it is StatusNoBase.
func DecodeDynamic(blocks []cxtp.CDB) (*Dynamic, error) {
	var d *Dynamic
	for i := range blocks {
		if blocks[i].FPT != cxtp.FPTIKEDynamic {
			continue
		}
		if d != nil {
			return nil, malformed(cxtp.FPTIKEDynamic, "two dynamic blocks: a context has one")
		}
		var r reader
		d = new(Dynamic)
		r.Open(&blocks[i], dynamicLayout)
		d.read(&r)
		if err := r.Finish(); err != nil {
			return nil, err
		}
	}
	if d == nil {
		return nil, features.Refuse(cxtp.FPTIKEDynamic, cxtp.StatusNoBase, "no dynamic block")
	}
	return d, nil
}

func malformed(fpt cxtp.FPT, format string, args ...any) error {
	return features.Refuse(fpt, cxtp.StatusMalformed, format, args...)
}
