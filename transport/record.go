package transport

import "encoding/binary"

// What the demultiplexer reads of a datagram: the header of its first DTLS
// record (RFC 6347 section 4.1) and, for a handshake message in the clear, that
// of the message (section 4.2.2).
const (
	recordHeader    = 13
	handshakeHeader = 12

	contentChangeCipherSpec = 20
	contentHandshake        = 22
	contentApplicationData  = 23

	// A ClientHello's random: 4 octets of time after the version, then these 28.
	randomSize   = 28
	randomOffset = recordHeader + handshakeHeader + 2 + 4
)

// role says which end of a handshake sent a message.
type role int

const (
	eitherEnd   role = iota // both send it, or it is not a handshake message
	clientHello             // opens a handshake: the client, with its random
	clientEnd               // only the client sends it
	serverEnd               // only the server sends it
)

// random is what tells two ClientHellos apart.
type random [randomSize]byte

// record is what a datagram's first record says in the clear.
type record struct {
	encrypted bool
	role      role
	// For clientHello: whether it is the first of its handshake, which has no
	// cookie yet, and its random.
	first  bool
	random random
}

// parseRecord is false for what cannot be DTLS 1.2. It says nothing about
// whether the rest of the datagram makes sense.
func parseRecord(datagram []byte) (record, bool) {
	if len(datagram) < recordHeader || datagram[1] != 0xfe ||
		datagram[0] < contentChangeCipherSpec || datagram[0] > contentApplicationData {
		return record{}, false
	}
	if binary.BigEndian.Uint16(datagram[3:]) > 0 { // epoch
		return record{encrypted: true}, true
	}
	if datagram[0] != contentHandshake {
		return record{}, datagram[0] != contentApplicationData
	}
	if len(datagram) < recordHeader+handshakeHeader {
		return record{}, false
	}
	return parseHandshake(datagram)
}

func parseHandshake(datagram []byte) (record, bool) {
	const (
		typeClientHello       = 1
		typeServerHello       = 2
		typeHelloVerify       = 3
		typeServerKeyExchange = 12
		typeCertRequest       = 13
		typeServerHelloDone   = 14
		typeCertVerify        = 15
		typeClientKeyExchange = 16
	)
	header := datagram[recordHeader:]
	switch header[0] {
	case typeClientHello:
		fragment := uint32(header[6])<<16 | uint32(header[7])<<8 | uint32(header[8])
		if fragment > 0 {
			return record{role: clientEnd}, true
		}
		if len(datagram) < randomOffset+randomSize {
			return record{}, false
		}
		first := binary.BigEndian.Uint16(header[4:]) == 0
		return record{role: clientHello, first: first, random: random(datagram[randomOffset:])}, true
	case typeServerHello, typeHelloVerify, typeServerKeyExchange, typeCertRequest, typeServerHelloDone:
		return record{role: serverEnd}, true
	case typeCertVerify, typeClientKeyExchange:
		return record{role: clientEnd}, true
	}
	return record{}, true
}

// isServerHello tells whether a datagram that we send is an answer to a
// ClientHello with a good cookie.
func isServerHello(datagram []byte) bool {
	return len(datagram) > recordHeader && datagram[0] == contentHandshake &&
		datagram[3] == 0 && datagram[4] == 0 && datagram[recordHeader] == 2
}

// encryptedPart returns what an established connection may see of a datagram:
// its records from the first encrypted one on, which are all of them but for a
// peer that repeats the end of its handshake. If a record in the clear follows,
// or the lengths do not fit, it is nothing: DTLS takes a forged datagram with,
// for instance, application data in the clear as a reason to end the connection.
func encryptedPart(datagram []byte) []byte {
	start := -1
	for at := 0; at < len(datagram); {
		rest := datagram[at:]
		if len(rest) < recordHeader {
			return nil
		}
		encrypted := binary.BigEndian.Uint16(rest[3:]) > 0
		switch {
		case encrypted && start < 0:
			start = at
		case !encrypted && start >= 0:
			return nil
		}
		at += recordHeader + int(binary.BigEndian.Uint16(rest[11:]))
		if at > len(datagram) {
			return nil
		}
	}
	if start < 0 {
		return nil
	}
	return datagram[start:]
}
