package cxtp

import "time"

// DefaultWrongTokens is how many wrong tokens of 32 bits a session may be shown
// at once.
const DefaultWrongTokens = 8

// wrongTokenPause is how long one wrong token of 32 bits counts.
const wrongTokenPause = time.Second

// wrongTokens bounds how fast the 32 bits of RFC 4067's token can be guessed: a
// session checks Config.WrongTokens wrong ones in a row, and from then on one a
// second. CTARs come from addresses that prove nothing, so whatever is refused to
// a forger is refused to the node: there is no penalty that grows, and none that
// outlasts the forger by more than a moment. A strong token needs no limit: it
// cannot be guessed, and a wrong one costs one HMAC.
type wrongTokens struct {
	count uint64    // of all kinds, for the operator
	until time.Time // when the last of them counts no more
}

// mayGuess reports whether a token of 32 bits may be checked now.
func (s *Session) mayGuess() bool {
	return s.wrong == nil || s.wrong.until.Sub(s.now) <= time.Duration(s.cfg.WrongTokens-1)*wrongTokenPause
}

// countWrong counts a token that did not verify.
func (s *Session) countWrong() {
	if s.wrong == nil {
		s.wrong = new(wrongTokens)
	}
	w := s.wrong
	w.count++
	if !s.node.strong() {
		if w.until.Before(s.now) {
			w.until = s.now
		}
		w.until = w.until.Add(wrongTokenPause)
	}
}
