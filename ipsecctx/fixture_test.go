package ipsecctx

import (
	"net/netip"
	"time"

	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/features/featuretest"
)

var ref, status = featuretest.Ref, featuretest.Status

// testSession is a road warrior with one pair of ESP tunnel SAs: AES-GCM-256
// with ESN behind a NAT, an anti-replay window of 1,024 and two selectors. Every
// call gives one that shares nothing.
func testSession() *Session {
	node := netip.MustParsePrefix("10.4.0.7/32")
	return &Session{
		Inner:    []netip.Prefix{node},
		LocalID:  Name{Type: IDFQDN, Data: []byte("sg.example")},
		RemoteID: Name{Type: IDFQDN, Data: []byte("node1.example")},
		SAs: []SA{
			testSA(Inbound, 0xc0000001, 0x10),
			testSA(Outbound, 0xc0000002, 0x50),
		},
	}
}

func testSA(d Direction, spi uint32, firstKeyOctet byte) SA {
	return SA{
		Direction:  d,
		Protocol:   ESP,
		SPI:        spi,
		Mode:       Tunnel,
		Pair:       1,
		Local:      netip.MustParseAddr("192.0.2.1"),
		Remote:     netip.MustParseAddr("198.51.100.9"),
		Encap:      Encap{LocalPort: 4500, RemotePort: 61234},
		Encryption: Cipher{ID: EncrAESGCM16, Bits: 256, Key: countingKey(firstKeyOctet, 32), Salt: countingKey(firstKeyOctet+32, 4), IV: IVCounter},
		ESN:        true,
		Window:     1024,
		Soft:       Lifetime{Time: 54 * time.Minute},
		Hard:       Lifetime{Time: time.Hour, Octets: 1 << 40},
		Selectors: []Selector{
			{
				Local:      []Range{{netip.MustParseAddr("10.0.0.0"), netip.MustParseAddr("10.0.255.255")}},
				Remote:     []Range{{netip.MustParseAddr("10.4.0.7"), netip.MustParseAddr("10.4.0.7")}},
				Protocol:   NextProtocol{Match: MatchValue, Number: 6},
				LocalPort:  Ports{443, 443},
				RemotePort: AnyPort,
				// What the protocol has no use for is ANY after decoding.
				MobilityHeader: AnyPort,
			},
			{
				Local:     []Range{{netip.MustParseAddr("10.0.0.53"), netip.MustParseAddr("10.0.0.53")}},
				Remote:    []Range{{netip.MustParseAddr("10.4.0.7"), netip.MustParseAddr("10.4.0.7")}},
				Protocol:  NextProtocol{Match: MatchValue, Number: 1},
				LocalPort: AnyPort, RemotePort: AnyPort, MobilityHeader: AnyPort,
				ICMP: ICMPRange{Match: MatchValue, TypeFrom: 8, TypeTo: 8, CodeTo: 255},
			},
		},
	}
}

func testDynamic() []Dynamic {
	window := make([]uint64, 16)
	for i := range window {
		window[i] = ^uint64(0)
	}
	window[0] = 0xfffffffffffffffb // the packet two before the last is missing
	return []Dynamic{
		{Direction: Inbound, Protocol: ESP, SPI: 0xc0000001, Sequence: 0x1_0000_2001, Window: window,
			Used: Lifetime{Time: 600 * time.Second, Octets: 4096, Packets: 8193}, Idle: 2 * time.Second},
		{Direction: Outbound, Protocol: ESP, SPI: 0xc0000002, Sequence: 0x1_0000_4002,
			Used: Lifetime{Time: 600 * time.Second, Octets: 8192, Packets: 16386}},
	}
}

// countingKey is n octets that count up from first.
func countingKey(first byte, n int) secret.Key {
	octets := make([]byte, n)
	for i := range octets {
		octets[i] = first + byte(i)
	}
	return secret.New(octets)
}
