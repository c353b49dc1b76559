package ikev2

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cxtp/cxtp/cxtp/secret"
)

// The files in testdata/recorded are sessions between two strongSwan daemons,
// 5.9.8 as Debian 12 has it, with kernel-libipsec and a preshared key, in two
// network namespaces. They are what the gateway logged with levels net = 3, ike =
// 4 and chd = 4, in that order; what it sent is from the log of the client. In most
// of them the client connects and rekeys its CHILD_SA, then the gateway rekeys
// IKE_SA and CHILD_SA and tells of an address that comes and goes, and the client
// ends it. Lines are
//
//	in, out   a datagram without non-ESP marker, with charon's list of its payloads
//	whole     the list for the fragments before it
//	ike, esp  what was selected: ENCR, key bits, INTEG, and PRF with ike
//	secret    the shared secret of the exchange
//	sk_*      keys of an IKE_SA
//	child_*   keys of a CHILD_SA, ei for encryption from the initiator

// player plays a recording through this package. It knows of the session what an
// agent would be told, the secrets and transforms, and reads all the rest from
// messages that it has opened itself.
type player struct {
	t      *testing.T
	sas    map[uint64]*SA // by the initiator's SPI, as the gateway has them
	lines  []string       // of transforms and keys that wait for the nonces
	single map[string]int // counts of what was checked

	sa         *SA // of the exchange that is under way
	exchange   ExchangeType
	ni, nr     []byte
	spii, spir uint64 // of a new IKE SA
	byGateway  bool   // the gateway initiated the exchange
	fragments  [][]byte
}

func recordings(t testing.TB) []string {
	t.Helper()
	names, err := filepath.Glob("testdata/recorded/*.txt")
	if err != nil || len(names) < 15 {
		t.Fatalf("%d recordings, %v", len(names), err)
	}
	return names
}

func recordedLines(t testing.TB, path string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		if !strings.HasPrefix(s.Text(), "#") {
			lines = append(lines, s.Text())
		}
	}
	return lines
}

func unhex(t testing.TB, digits string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// play plays a whole recording and gives the player as it is at the end.
func play(t *testing.T, path string, each func(p *player, from *SA, datagram []byte, m *Message)) *player {
	p := &player{t: t, sas: map[uint64]*SA{}, single: map[string]int{}}
	for _, line := range recordedLines(t, path) {
		word, rest, _ := strings.Cut(line, " ")
		switch word {
		case "in", "out":
			digits, list, _ := strings.Cut(rest, " ")
			p.derive()
			p.message(word == "out", unhex(t, digits), list, each)
			p.derive()
		case "whole":
			m := p.open(p.fragments...)
			p.compare(m, rest)
			p.fragments = nil
		default:
			p.lines = append(p.lines, line)
		}
	}
	p.derive()
	if len(p.lines) > 0 {
		t.Errorf("keys without an exchange: %q", p.lines)
	}
	return p
}

func (p *player) message(out bool, datagram []byte, list string, each func(*player, *SA, []byte, *Message)) {
	h, first, err := parseHeader(datagram)
	if err != nil {
		p.t.Fatal(err)
	}
	if !h.Response {
		p.exchange, p.byGateway = h.Exchange, out
		p.sa = p.sas[h.SPIi]
	}
	if h.Exchange == IKESAInit {
		payloads, err := parseChain(datagram[headerLen:], first)
		if err != nil {
			p.t.Fatal(err)
		}
		p.spii, p.spir = h.SPIi, h.SPIr
		p.collect(h.Response, payloads)
		return
	}
	if list == "fragment" {
		p.fragments = append(p.fragments, datagram)
		return
	}
	m := p.open(datagram)
	p.compare(m, list)
	p.collect(h.Response, m.Payloads)
	if each != nil {
		each(p, p.sa, datagram, m)
	}
	p.single["messages"]++
}

// open opens a message of either side: as the one that receives it.
func (p *player) open(datagrams ...[]byte) *Message {
	h, err := ParseHeader(datagrams[0])
	if err != nil {
		p.t.Fatal(err)
	}
	end := *p.sas[h.SPIi]
	end.Initiator = !h.Initiator
	m, err := end.Open(datagrams...)
	if err != nil {
		p.t.Fatalf("message %d of exchange %d: %v", h.ID, h.Exchange, err)
	}
	return m
}

// collect takes from a message what keys are made of.
func (p *player) collect(response bool, payloads []Payload) {
	for _, payload := range payloads {
		switch payload.Type {
		case PayloadNonce:
			if response {
				p.nr = payload.Body
			} else {
				p.ni, p.nr = payload.Body, nil
			}
		case PayloadSA:
			// A proposal for IKE with an SPI is one for rekeying.
			if b := payload.Body; b[5] == ProtocolIKE && b[6] == 8 {
				spi := binary.BigEndian.Uint64(b[8:])
				if response {
					p.spir = spi
				} else {
					p.spii = spi
				}
			}
		}
	}
}

var listed = regexp.MustCompile(`(\w+)(\([\w ]*\))?`)

// compare compares the payloads with charon's list of them.
func (p *player) compare(m *Message, list string) {
	var want, got []string
	for _, l := range listed.FindAllStringSubmatch(list, -1) {
		switch name := l[1]; name {
		case "No":
			want = append(want, "Nonce")
		case "CPRQ", "CPRP":
			want = append(want, "CP")
		default:
			want = append(want, name)
		}
	}
	for _, payload := range m.Payloads {
		got = append(got, payload.Type.String())
	}
	if !slices.Equal(got, want) {
		p.t.Errorf("message %d has %q, charon says %q", m.ID, got, list)
	}
}

// derive computes the keys that the recording has, once both nonces are known.
func (p *player) derive() {
	if len(p.lines) == 0 || p.nr == nil {
		return
	}
	want := map[string][]byte{}
	var secrets []secret.Key
	var selected []uint16
	kind := ""
	for _, line := range p.lines {
		word, rest, _ := strings.Cut(line, " ")
		switch word {
		case "ike", "esp":
			kind, selected = word, make([]uint16, 4)
			fmt.Sscan(rest, &selected[0], &selected[1], &selected[2], &selected[3])
		case "secret":
			secrets = append(secrets, secret.New(unhex(p.t, rest)))
		default:
			want[word] = unhex(p.t, rest)
		}
	}
	if len(want) == 0 {
		return // selected, and derived later
	}
	p.lines = nil
	protection := Protection{Encryption: selected[0], Bits: selected[1], Integrity: selected[2]}
	in := Inputs{Ni: p.ni, Nr: p.nr, Secrets: secrets}
	if kind == "ike" {
		p.deriveIKE(protection, selected[3], in, want)
	} else {
		p.deriveChild(protection, in, want)
	}
}

func (p *player) deriveIKE(protection Protection, prf uint16, in Inputs, want map[string][]byte) {
	sa := &SA{SPIi: p.spii, SPIr: p.spir, Initiator: p.byGateway, Protection: protection, PRF: prf}
	var err error
	if p.exchange == IKESAInit {
		err = sa.Derive(in)
	} else {
		err = sa.Rekey(Predecessor{PRF: p.sa.PRF, D: p.sa.Keys.D, Expands: true}, in)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	k := &sa.Keys
	p.equal(want, map[string]secret.Key{
		"sk_d": k.D, "sk_ai": k.Ai, "sk_ar": k.Ar, "sk_ei": k.Ei, "sk_er": k.Er, "sk_pi": k.Pi, "sk_pr": k.Pr,
	})
	p.sas[sa.SPIi] = sa
	p.single["IKE SAs"]++
}

func (p *player) deriveChild(protection Protection, in Inputs, want map[string][]byte) {
	k, err := p.sa.ChildKeys(protection, in)
	if err != nil {
		p.t.Fatal(err)
	}
	// charon has key and salt in one.
	whole := func(k PacketKeys) secret.Key {
		return secret.New(slices.Concat(k.Encryption.Bytes(), k.Salt.Bytes()))
	}
	p.equal(want, map[string]secret.Key{
		"child_ei": whole(k.FromInitiator), "child_ai": k.FromInitiator.Integrity,
		"child_er": whole(k.FromResponder), "child_ar": k.FromResponder.Integrity,
	})
	p.single["CHILD SAs"]++
}

func (p *player) equal(want map[string][]byte, got map[string]secret.Key) {
	for name, key := range got {
		if !bytes.Equal(key.Bytes(), want[name]) {
			p.t.Errorf("%s is not what charon has", name)
		}
	}
}

// TestRecorded: from secrets and transforms alone every key and every message of
// real sessions comes out, through rekeyings of both kinds from both sides.
func TestRecorded(t *testing.T) {
	for _, path := range recordings(t) {
		name := strings.TrimSuffix(filepath.Base(path), ".txt")
		t.Run(name, func(t *testing.T) {
			p := play(t, path, resealed)
			want := map[string]int{"messages": 20, "IKE SAs": 2, "CHILD SAs": 3}
			switch {
			case name == "mobike":
				want = map[string]int{"messages": 6, "IKE SAs": 1, "CHILD SAs": 1}
			case strings.HasPrefix(name, "fragments"):
				want = map[string]int{"messages": 2, "IKE SAs": 1, "CHILD SAs": 1}
			}
			for what, n := range want {
				if p.single[what] != n {
					t.Errorf("%d %s, want %d", p.single[what], what, n)
				}
			}
		})
	}
}

// resealed: sealed with the same IV, a message is the same octets again. (With CBC
// charon pads at random.)
func resealed(p *player, sa *SA, datagram []byte, m *Message) {
	h, _ := ParseHeader(datagram)
	sender := *sa
	sender.Initiator = h.Initiator
	protector, err := sender.newProtector(sender.Initiator)
	if err != nil {
		p.t.Fatal(err)
	}
	at := headerLen + genericLen
	again, err := sender.seal(protector, m, datagram[at:at+protector.layout().iv])
	if err != nil {
		p.t.Fatal(err)
	}
	if sa.Protection.Integrity == 0 && !bytes.Equal(again, datagram) {
		p.t.Errorf("message %d is sealed as\n%x, charon has\n%x", m.ID, again, datagram)
	}
	if got := p.open(again); got.ID != m.ID || len(got.Payloads) != len(m.Payloads) {
		p.t.Errorf("message %d is another after sealing", m.ID)
	}
}

// TestIVs: charon's IVs are those of the package documentation, so the advice
// there rests on what it does.
func TestIVs(t *testing.T) {
	type sender struct {
		spi       uint64
		initiator bool
	}
	for _, path := range recordings(t) {
		salts := map[sender]uint64{}
		play(t, path, func(p *player, sa *SA, datagram []byte, m *Message) {
			if sa.Protection.Integrity != 0 {
				return
			}
			const inverted = 1 << 63
			h, _ := ParseHeader(datagram)
			from := sender{sa.SPIi, h.Initiator}
			salt := (binary.BigEndian.Uint64(datagram[headerLen+genericLen:]) ^ uint64(m.ID)<<32) &^ inverted
			if before, ok := salts[from]; ok && before != salt {
				t.Errorf("%s: message %d has salt %016x, before it was %016x", path, m.ID, salt, before)
			}
			salts[from] = salt
		})
	}
}

// TestTampered: no octet of a message can be changed, whatever protects it.
func TestTampered(t *testing.T) {
	for _, path := range recordings(t) {
		last := map[uint64][]byte{}
		p := play(t, path, func(_ *player, sa *SA, datagram []byte, _ *Message) { last[sa.SPIi] = datagram })
		for spi, datagram := range last {
			h, _ := ParseHeader(datagram)
			end := *p.sas[spi]
			end.Initiator = !h.Initiator
			for i := range datagram {
				forged := bytes.Clone(datagram)
				forged[i] ^= 0x01
				if m, err := end.Open(forged); err == nil {
					t.Fatalf("%s: octet %d changed, opened as %+v", path, i, m)
				} else if i >= headerLen+genericLen && !errors.Is(err, ErrAuth) {
					t.Fatalf("%s: octet %d changed: %v", path, i, err)
				}
			}
		}
	}
}
