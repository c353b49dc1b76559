package ipsecctx

import (
	"sync"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/features"
	"github.com/cxtp/cxtp/features/profile"
)

// AppendSession appends the static context blocks of s to blocks: the session
// block, then one block for each SA, in order. Their data go to arena, which is
// used as far as its capacity goes; beyond it, new memory is taken rather than
// what is there copied, because what is there is keys. It returns blocks and
// the arena to hand in next time.
//
// The error is a [features.Error]: a field without a default has no value, or
// something is
// [ErrTooLarge]. Then blocks and arena come back as they were.
func AppendSession(blocks []cxtp.CDB, arena []byte, s *Session) ([]cxtp.CDB, []byte, error) {
	a := profile.Appender{Blocks: blocks, Arena: arena}
	a.Add(s.encode)
	for i := range s.SAs {
		a.Add(s.SAs[i].encode)
	}
	return a.Result(blocks, arena)
}

// AppendDynamic appends one block for each entry of dynamic, in order, with
// blocks, arena and errors as [AppendSession] has them.
func AppendDynamic(blocks []cxtp.CDB, arena []byte, dynamic []Dynamic) ([]cxtp.CDB, []byte, error) {
	a := profile.Appender{Blocks: blocks, Arena: arena}
	for i := range dynamic {
		a.Add(dynamic[i].encode)
	}
	return a.Result(blocks, arena)
}

// EncodeSession is [AppendSession] with memory of its own, as much as it takes.
func EncodeSession(s *Session) ([]cxtp.CDB, error) {
	return profile.Encode(1+len(s.SAs), func(blocks []cxtp.CDB, arena []byte) ([]cxtp.CDB, []byte, error) {
		return AppendSession(blocks, arena, s)
	})
}

// EncodeDynamic is [AppendDynamic] with memory of its own, as much as it takes.
func EncodeDynamic(dynamic []Dynamic) ([]cxtp.CDB, error) {
	return profile.Encode(len(dynamic), func(blocks []cxtp.CDB, arena []byte) ([]cxtp.CDB, []byte, error) {
		return AppendDynamic(blocks, arena, dynamic)
	})
}

// Decode reads the static contexts among blocks, in whatever order, into s; the
// blocks of other context types are left alone. The memory that s has is used
// again, and every field is overwritten.
//
// Keys and identities alias the blocks: whoever keeps s longer than them takes a
// [Session.Clone], and wiping one wipes the other.
//
// The error is a [features.Error] with the status for the other gateway, around
// a [cxtp.ParseError] where an octet is to blame. s is then undefined. Decode
// checks the form; [Session.Validate] checks the meaning.
func (s *Session) Decode(blocks []cxtp.CDB) error {
	var r reader
	announced := -1
	s.SAs = s.SAs[:0]
	for i := range blocks {
		b := &blocks[i]
		switch b.FPT {
		case cxtp.FPTIPsecSession:
			if announced >= 0 {
				return malformed(b.FPT, "two session blocks: a context has one")
			}
			r.Open(b, sessionLayout)
			announced = s.read(&r)
		case cxtp.FPTIPsecSA:
			r.Open(b, saLayout)
			s.SAs = extend(s.SAs)
			s.SAs[len(s.SAs)-1].read(&r)
		default:
			continue
		}
		if err := r.Finish(); err != nil {
			return err
		}
	}
	if announced < 0 {
		return malformed(cxtp.FPTIPsecSession, "no session block")
	}
	if announced != len(s.SAs) {
		return malformed(cxtp.FPTIPsecSession, "%d SA blocks, the session block announces %d", len(s.SAs), announced)
	}
	return nil
}

// DecodeSession is [Session.Decode] into a new session.
func DecodeSession(blocks []cxtp.CDB) (*Session, error) {
	s := new(Session)
	if err := s.Decode(blocks); err != nil {
		return nil, err
	}
	return s, nil
}

// decoders are sessions to decode into, for those who have no use for one after
// looking at it. They refer to no block while they are in the pool.
var decoders = sync.Pool{New: func() any { return new(Session) }}

// withDecoded calls use with what [DecodeSession] reads, checked. The session is
// lent until use returns.
func withDecoded(blocks []cxtp.CDB, use func(*Session) error) error {
	s := decoders.Get().(*Session)
	defer func() {
		s.letGo()
		decoders.Put(s)
	}()
	if err := s.Decode(blocks); err != nil {
		return err
	}
	if err := s.Validate(); err != nil {
		return err
	}
	return use(s)
}

// letGo drops what aliases the blocks that s was decoded from. The memory that
// is s's own stays, for the next.
func (s *Session) letGo() {
	s.LocalID, s.RemoteID, s.EAPIdentity = Name{}, Name{}, nil
	for i := range s.SAs {
		sa := &s.SAs[i]
		for _, k := range sa.secrets() {
			*k = secret.Key{}
		}
		for j := range sa.Selectors {
			sa.Selectors[j].Name, sa.Selectors[j].Sensitivity = Name{}, nil
		}
	}
}

// AppendDecodedDynamic appends the dynamic contexts among blocks to dst; the
// blocks of other context types are left alone. The memory behind dst's length
// is used again. Chained IVs alias the blocks. Errors are as with
// [Session.Decode].
func AppendDecodedDynamic(dst []Dynamic, blocks []cxtp.CDB) ([]Dynamic, error) {
	var r reader
	for i := range blocks {
		b := &blocks[i]
		if b.FPT != cxtp.FPTIPsecDynamic {
			continue
		}
		r.Open(b, dynamicLayout)
		dst = extend(dst)
		dst[len(dst)-1].read(&r)
		if err := r.Finish(); err != nil {
			return dst[:len(dst)-1], err
		}
	}
	return dst, nil
}

// DecodeDynamic is [AppendDecodedDynamic] into a new slice.
func DecodeDynamic(blocks []cxtp.CDB) ([]Dynamic, error) {
	return AppendDecodedDynamic(make([]Dynamic, 0, len(blocks)), blocks)
}

func malformed(fpt cxtp.FPT, format string, args ...any) error {
	return refusal(fpt, cxtp.StatusMalformed, format, args...)
}

func refusal(fpt cxtp.FPT, status cxtp.Status, format string, args ...any) error {
	return features.Refuse(fpt, status, format, args...)
}
