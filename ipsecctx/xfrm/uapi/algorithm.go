package uapi

import (
	"bytes"

	"github.com/cxtp/cxtp/cxtp/secret"
)

// attrAlgorithms appends the algorithms of an SA with their keys.
func (w *writer) attrAlgorithms(s *State) {
	if a := s.AEAD; a != nil {
		w.attrAlgorithm(attrAlgAEAD, a.Name, a.Key, a.ICVBits)
	}
	if a := s.Auth; a != nil {
		w.attrAlgorithm(attrAlgAuthTrunc, a.Name, a.Key, a.TruncBits)
	}
	if a := s.Crypt; a != nil {
		w.attrAlgorithm(attrAlgCrypt, a.Name, a.Key)
	}
	if s.Comp != "" {
		w.attrAlgorithm(attrAlgComp, s.Comp, secret.Key{})
	}
}

// attrAlgorithm appends one algorithm: name, key length in bits, the further
// number that some have, key.
func (w *writer) attrAlgorithm(kind uint16, name string, key secret.Key, further ...uint32) {
	if name == "" || len(name) >= sizeAlgoName || bytes.IndexByte([]byte(name), 0) >= 0 {
		w.failf("algorithm", "%q is not a name of 1 to %d octets", name, sizeAlgoName-1)
		return
	}
	start := sizeAlgo + 4*len(further)
	b := w.attr(kind, start+key.Len())
	copy(b, name)
	native.PutUint32(b[sizeAlgoName:], uint32(8*key.Len()))
	for i, v := range further {
		native.PutUint32(b[sizeAlgo+4*i:], v)
	}
	copy(b[start:], key.Bytes())
}

// takeAlgorithms reads the algorithms into s.
func (r *reader) takeAlgorithms(s *State) {
	if b := r.take(attrAlgAEAD, sizeAlgoAEAD); b != nil {
		s.AEAD = &AEAD{Name: r.algorithmName(b), Key: r.algorithmKey(b, sizeAlgoAEAD), ICVBits: native.Uint32(b[sizeAlgo:])}
	}
	// The kernel tells an integrity algorithm twice. The form without its
	// truncation counts only where it stands alone.
	plain := r.take(attrAlgAuth, sizeAlgo)
	if b := r.take(attrAlgAuthTrunc, sizeAlgoAuth); b != nil {
		s.Auth = &Auth{Name: r.algorithmName(b), Key: r.algorithmKey(b, sizeAlgoAuth), TruncBits: native.Uint32(b[sizeAlgo:])}
	} else if plain != nil {
		s.Auth = &Auth{Name: r.algorithmName(plain), Key: r.algorithmKey(plain, sizeAlgo)}
	}
	if b := r.take(attrAlgCrypt, sizeAlgo); b != nil {
		s.Crypt = &Cipher{Name: r.algorithmName(b), Key: r.algorithmKey(b, sizeAlgo)}
	}
	if b := r.take(attrAlgComp, sizeAlgo); b != nil {
		s.Comp = r.algorithmName(b)
	}
}

func (r *reader) algorithmName(b []byte) string {
	name, _, terminated := bytes.Cut(b[:sizeAlgoName], []byte{0})
	if !terminated || len(name) == 0 {
		r.failf("algorithm", "a name that is empty or does not end")
	}
	return string(name)
}

// algorithmKey copies the key, which begins at start.
func (r *reader) algorithmKey(b []byte, start int) secret.Key {
	n, key := native.Uint32(b[sizeAlgoName:]), b[start:]
	if n%8 != 0 || int64(n/8) > int64(len(key)) {
		r.failf("algorithm", "a key of %d bits in %d octets", n, len(key))
		return secret.Key{}
	}
	return secret.Clone(key[:n/8])
}
