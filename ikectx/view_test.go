package ikectx

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"testing"
)

// TestView: an operator sees who it is, what it has and for how long, of the
// generation in use; and not a key.
func TestView(t *testing.T) {
	s := testSession()
	want := View{
		Connection: "rw", Identity: "fqdn:node1.example", EAPIdentity: "ann",
		Local: s.Local, Remote: s.Remote, Virtual: []netip.Prefix{netip.MustParsePrefix("10.4.0.7/32")},
		InitiatorSPI: "a1a2a3a4a5a6a702", ResponderSPI: "b1b2b3b4b5b6b702",
		Generation: 2, Age: int64(s.SAs[1].Age.Seconds()), Connected: 7200,
		Children: []ViewChild{{Name: s.Children[0].Name, Inbound: "c1c2c3c4", Outbound: "d1d2d3d4", Age: int64(s.Children[0].Age.Seconds())}},
	}
	s.Children[0].Inbound, s.Children[0].Outbound = 0xc1c2c3c4, 0xd1d2d3d4
	if got := s.View(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}

	text, err := json.Marshal((&Session{EAPIdentity: []byte("an\x1b[2Jn")}).View())
	if err != nil || strings.Contains(string(text), `\u001b`) || !strings.Contains(string(text), `"children":[]`) {
		t.Errorf("of hardly anything: %s, %v", text, err)
	}
}
