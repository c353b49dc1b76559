package cxtp

// SessionNameBlock names a session in the requests of a CTAR or CT-Req, for an
// address that several sessions share. Like every request block it is covered
// by the token. FPTSessionName, no presence vector, the data are the session
// id's 16 octets (control profile section 6).
func SessionNameBlock(id SessionID) CDB {
	return CDB{FPT: FPTSessionName, Data: id[:]}
}

// ParseSessionName reads a session name block. Any error is a [*ParseError],
// whose offset counts from the start of the block, its header included.
func ParseSessionName(b CDB) (SessionID, error) {
	var r wireReader
	id := readSessionName(&r, b)
	if err := r.result(); err != nil {
		return SessionID{}, err
	}
	return id, nil
}

var nameProfile = blockProfile{"session name block", "control profile section 6", FPTSessionName, false}

func readSessionName(r *wireReader, b CDB) (id SessionID) {
	r.enter(nameProfile, b)
	copy(id[:], r.octets("Session id", len(id)))
	r.padding()
	return id
}
