package cxtp

// AlgorithmHMACSHA1 is the one algorithm for authorisation tokens that RFC 4067
// section 2.5.3 and RFC 4065 section 7 define.
const AlgorithmHMACSHA1 uint16 = 1

// Token is the MN Authorization Token of RFC 4067 section 2.5.1.
type Token [4]byte

// IsZero reports whether this is the null token: none.
func (t Token) IsZero() bool { return t == Token{} }
