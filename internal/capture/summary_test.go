package capture

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestSentences(t *testing.T) {
	for _, test := range []struct {
		summary Summary
		want    []string
	}{
		{Summary{}, []string{"packets: 0; messages between routers: 0, between nodes and routers: 0"}},
		{
			Summary{
				Packets: 40, RouterMessages: 3, NodeMessages: 2,
				Foreign: 4, Keepalives: 5, Cut: 6, Incomplete: 7,
				Sealed: []Sealed{
					{Why: NoHandshake, Records: 8},
					{A: netip.MustParseAddrPort("192.0.2.1:5091"), B: netip.MustParseAddrPort("[2001:db8::2]:5091"), Why: NoKeyLog, Records: 9},
				},
			},
			[]string{
				"packets: 40; messages between routers: 3, between nodes and routers: 2",
				"no messages: packets of other ports or protocols: 4, keepalives: 5",
				"encrypted records between other addresses that are not read: 8, because the handshake is not in the capture, which must begin before the routers connect",
				"encrypted records between 192.0.2.1:5091 and [2001:db8::2]:5091 that are not read: 9, because no key log was given (--keylog)",
				"not read: packets whose end was not captured (a larger snap length captures it): 6; SCTP fragments without the rest of their message: 7",
			},
		},
	} {
		if got := test.summary.Sentences(); !slices.Equal(got, test.want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
		}
	}
	for r := NoKeyLog; r <= WrongSecret; r++ {
		if strings.HasPrefix(r.String(), "reason") {
			t.Errorf("%d has no words", r)
		}
	}
}
