package ikectx

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/features/featuretest"
	"github.com/cxtp/cxtp/features/profile"
	"github.com/cxtp/cxtp/ikectx/ikev2"
	"github.com/cxtp/cxtp/ipsecctx"
)

var ref, status = featuretest.Ref, featuretest.Status

// testSession is a road warrior behind a NAT that authenticated with EAP. Its IKE
// SA has been rekeyed once, by the node; its CHILD SA is older than that. Every
// call gives one that shares nothing.
func testSession() *Session {
	return &Session{
		LocalID:           profile.Identity{Type: profile.IDFQDN, Data: []byte("sg.example")},
		RemoteID:          profile.Identity{Type: profile.IDFQDN, Data: []byte("node1.example")},
		EAPIdentity:       []byte("ann"),
		Local:             netip.MustParseAddrPort("192.0.2.1:4500"),
		Remote:            netip.MustParseAddrPort("198.51.100.9:61234"),
		NAT:               NATRemote,
		Extensions:        ExtNATTraversal | ExtMOBIKE | ExtFragmentation | ExtSignatures,
		OriginalInitiator: false,
		Hashes:            []uint16{2, 3, 4},
		RemoteVirtual:     []netip.Prefix{netip.MustParsePrefix("10.4.0.7/32")},
		LocalAuth:         Auth{Method: 14},
		RemoteAuth:        []Auth{{Method: 2, EAP: 26}},
		Age:               2 * time.Hour,
		Connection:        "rw",
		SAs:               []SA{testSA(1), testSA(2)},
		Children:          []Child{testChild()},
	}
}

// testSA gives generation 1, of which SK_d is left, or 2 with what it is derived
// from.
func testSA(generation uint32) SA {
	sa := SA{
		Generation:   generation,
		Replaces:     generation - 1,
		InitiatorSPI: 0xa1a2a3a4a5a6a700 + uint64(generation),
		ResponderSPI: 0xb1b2b3b4b5b6b700 + uint64(generation),
		Version:      version2,
		Encryption:   Cipher{ID: ipsecctx.EncrAESGCM16, Bits: 128},
		PRF:          ikev2.PRFHMACSHA2256,
		IV:           ipsecctx.IVSalted,
		Exchange:     Exchange{Method: 31},
		LocalWindow:  1,
		RemoteWindow: 1,
	}
	if generation == 1 {
		sa.Keys.D = countingKey(0x10, 32)
		sa.Age = 2 * time.Hour
		return sa
	}
	sa.Exchange.Ni, sa.Exchange.Nr = countingKey(0x40, 16).Bytes(), countingKey(0x60, 16).Bytes()
	sa.Exchange.Secrets = []secret.Key{countingKey(0x80, 32)}
	sa.OldPRF = ikev2.PRFHMACSHA2256
	sa.Age, sa.Rekey = 10*time.Minute, time.Hour
	return sa
}

func testChild() Child {
	selector := func(from, to string) []TrafficSelector {
		return []TrafficSelector{{Ports: ipsecctx.AnyPort, Range: ipsecctx.Range{From: netip.MustParseAddr(from), To: netip.MustParseAddr(to)}}}
	}
	return Child{
		Generation: 1,
		Protocol:   ipsecctx.ESP,
		Inbound:    0xc0000001,
		Outbound:   0xc0000002,
		Mode:       ipsecctx.Tunnel,
		ESN:        true,
		Encryption: Cipher{ID: ipsecctx.EncrAESGCM16, Bits: 256},
		Exchange:   Exchange{Ni: countingKey(0xa0, 16).Bytes(), Nr: countingKey(0xc0, 16).Bytes()},
		Local:      selector("10.0.0.0", "10.0.255.255"),
		Remote:     selector("10.4.0.7", "10.4.0.7"),
		Name:       "net",
		Age:        50 * time.Minute,
		Rekey:      time.Hour,
	}
}

// testDynamic has one answer that the node may ask for again.
func testDynamic() *Dynamic {
	return &Dynamic{
		Generation:   2,
		NextRequest:  3,
		NextExpected: 8,
		Responses:    []Message{{ID: 7, Exchange: 37, Age: 2 * time.Second, Datagrams: [][]byte{testDatagram(2, 7, 8)}}},
		Idle:         2 * time.Second,
	}
}

// testDatagram is a header of the test session's SA with so many octets behind
// it.
func testDatagram(generation, id uint32, body int) []byte {
	sa := testSA(generation)
	d := binary.BigEndian.AppendUint64(nil, sa.InitiatorSPI)
	d = binary.BigEndian.AppendUint64(d, sa.ResponderSPI)
	d = append(d, 46, version2, 37, 0x20) // an INFORMATIONAL response with an SK payload
	d = binary.BigEndian.AppendUint32(d, id)
	d = binary.BigEndian.AppendUint32(d, uint32(ikeHeader+body))
	return append(d, countingKey(0xe0, body).Bytes()...)
}

// countingKey is n octets that count up from first.
func countingKey(first byte, n int) secret.Key {
	octets := make([]byte, n)
	for i := range octets {
		octets[i] = first + byte(i)
	}
	return secret.New(octets)
}
