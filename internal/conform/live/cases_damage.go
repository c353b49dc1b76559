package live

import (
	"net/netip"

	"github.com/cxtp/cxtp/cxtp"
)

// damage is a way to spoil a message.
type damage struct {
	what  string
	spoil func([]byte) []byte
}

var versions = []damage{
	{"version 0", func(b []byte) []byte { b[0] &= 0x1f; return b }},
	{"version 2", func(b []byte) []byte { b[0] = b[0]&0x1f | 2<<5; return b }},
	{"version 7", func(b []byte) []byte { b[0] |= 7 << 5; return b }},
}

var lengths = []damage{
	{"a Length of one too many", func(b []byte) []byte { b[3]++; return b }},
	{"a Length of one too few", func(b []byte) []byte { b[3]--; return b }},
	{"a Length of zero", func(b []byte) []byte { b[2], b[3] = 0, 0; return b }},
	{"octets behind its end", func(b []byte) []byte { return append(b, 0, 0, 0, 0) }},
	{"no last octet", func(b []byte) []byte { return b[:len(b)-1] }},
	{"its first four octets alone", func(b []byte) []byte { return b[:4] }},
	{"one octet", func(b []byte) []byte { return b[:1] }},
}

// damageChecks are about messages that are not to be read. After each kind the
// router has to be there still.
var damageChecks = []check{
	{
		name: "ctar-other-version", rows: []string{"2.2-4"},
		expect: "a CTAR of another version than 1 has no effect",
		run:    func(t *trial) { t.spoiltCTAR(versions) },
	}, {
		name: "ctar-length", rows: []string{"2.5.1-6", "2.5.1-7"},
		expect: "a CTAR whose Length is not that of the message, or that is cut short, has no effect",
		run:    func(t *trial) { t.spoiltCTAR(lengths) },
	}, {
		name: "ctar-block-length", rows: []string{"2.4-2"},
		expect: "a CTAR with a request block that ends behind the message has no effect",
		run: func(t *trial) {
			t.spoiltCTAR([]damage{{"a block that is too long", func(b []byte) []byte {
				b = append(b, 0x12, 0x34, 3, 0, 0, 0, 0, 0)
				b[3] += 8
				return b
			}}})
		},
	}, {
		name: "ctar-unknown-type", rows: []string{"2.2-2"},
		expect: "a message of a type that is not known has no effect",
		run: func(t *trial) {
			t.spoiltCTAR([]damage{{"the type 20", func(b []byte) []byte { b[0] = b[0]&0xe0 | 20; return b }}})
		},
	}, {
		name: "ctd-other-version", rows: []string{"2.2-4"},
		expect: "a CTD of another version than 1 is not answered",
		run:    func(t *trial) { t.spoiltCTD(false, versions) },
	}, {
		name: "ctd-length", rows: []string{"2.5.3-5", "2.5.3-7"},
		expect: "a CTD whose Length is not that of the message, or that is cut short, is not answered",
		run:    func(t *trial) { t.spoiltCTD(false, lengths) },
	}, {
		name: "ctd-block-length", rows: []string{"2.4-2", "2.4-4"},
		expect: "no context of a CTD is taken that has a block without room for its header, or one that ends behind the message",
		run: func(t *trial) {
			t.spoiltCTD(false, []damage{
				{"a block that ends behind the message", func(b []byte) []byte { b[len(b)-6]++; return b }},
				{"a block of Length 0", func(b []byte) []byte { b[len(b)-6] = 0; return b }},
			})
		},
	}, {
		name: "ctd-key-length", rows: []string{"2.5.3-8"},
		expect: "a PCTD whose key is longer than the message is not answered",
		run: func(t *trial) {
			t.spoiltCTD(true, []damage{{"a key of 65,535 octets", func(b []byte) []byte {
				b[14], b[15] = 0xff, 0xff
				return b
			}}})
		},
	},
}

// spoiltCTAR sends spoilt CTARs and wants none of them to be passed on or answered.
func (t *trial) spoiltCTAR(damages []damage) {
	t.connected()
	sent := map[netip.Addr]damage{}
	for _, d := range damages {
		m := t.strange(true, true)
		t.toNodeSide(d.spoil(t.encoded(m)))
		sent[m.Previous] = d
	}
	t.unanswered(sent)
	t.stillThere()
}

// spoiltCTD sends a CTD in spoilt forms, none of which is to be answered, and at
// last as it should be.
func (t *trial) spoiltCTD(predictive bool, damages []damage) {
	t.connected()
	sent := map[netip.Addr]damage{}
	for _, d := range damages {
		m := t.unknownContext(predictive)
		t.toRouter(d.spoil(t.encoded(m)))
		sent[m.Previous] = d
	}
	t.unanswered(sent)
	m := t.unknownContext(predictive)
	t.send(m)
	expect[cxtp.CTDR](t, m.Previous)
}

// unanswered ends the case when a message about one of these nodes comes.
func (t *trial) unanswered(sent map[netip.Addr]damage) {
	var answered damage
	a := t.within(t.quiet(), func(a *arrival) (answers bool) {
		if a.message != nil {
			answered, answers = sent[about(a.message)]
		}
		return answers
	})
	if a != nil {
		t.fail("a message with %s was answered: %s", answered.what, a.summary())
	}
}

// unknownContext is a CTD with a context of a type that nobody knows, A = 1: it is
// answered with a CTDR.
func (t *trial) unknownContext(predictive bool) *cxtp.CTD {
	m := &cxtp.CTD{Predictive: predictive, Ack: true, Previous: t.stranger(true),
		Blocks: []cxtp.CDB{{FPT: unknownType, Data: []byte{1, 2, 3, 4}}}}
	if predictive {
		m.Algorithm, m.Key = cxtp.AlgorithmHMACSHA1, freshKey()
	}
	return m
}

// unknownType is a context type that is not assigned.
const unknownType cxtp.FPT = 0x7ABC
