package bridge

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// dumped is a message of Linux 6.18 on a little-endian machine, about the bridge 2 with
// the ports 4 and 6: a group for one source, an IPv4 group, one that expires, one that
// does not, what a node on port 6 has joined by itself, and what the bridge has.
const dumped = "0000000002000000d401010048000100440001000600000000000000ff1e000000000000000000000000000c86dd0000" +
	"08000100906500001400040020010db80000000000000000000000090500050004000000340001003000010006000000" +
	"00000000ef01020300000000000000000000000008000000080001008f65000005000500040000003400010030000100" +
	"0600000000000000ff1e000000000000000000000000000a86dd0000080001008f650000050005000400000034000100" +
	"300001000400000001000000ff1e000000000000000000000000000b86dd000008000100000000000500050004000000" +
	"34000100300001000600000000000000ff0200000000000000000001ff4a5b8486dd0000080001009065000005000500" +
	"020000002c000100280001000200000000000000ff0200000000000000000001ff00000186dd0000080001008e650000" +
	"2c000100280001000200000000000000ff02000000000000000000000000006a86dd0000080001008e6500002c000100" +
	"280001000200000000000000ff0200000000000000000001fffd973b86dd0000080001008e6500003400010030000100" +
	"0400000000000000ff0200000000000000000001ff9c0a4586dd0000080001008e6500000500050002000000"

func octets(t testing.TB, digits string) []byte {
	t.Helper()
	b, err := hex.DecodeString(digits)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTable(t *testing.T) {
	got, err := parseTable(octets(t, dumped), 2)
	want := []entry{
		{port: 6, group: netip.MustParseAddr("ff1e::a"), left: 259990 * time.Millisecond},
		{port: 4, group: netip.MustParseAddr("ff1e::b"), permanent: true},
		{port: 6, group: netip.MustParseAddr("ff02::1:ff4a:5b84"), left: 260 * time.Second},
		{port: 2, group: netip.MustParseAddr("ff02::1:ff00:1"), left: 259980 * time.Millisecond},
		{port: 2, group: netip.MustParseAddr("ff02::6a"), left: 259980 * time.Millisecond},
		{port: 2, group: netip.MustParseAddr("ff02::1:fffd:973b"), left: 259980 * time.Millisecond},
		{port: 4, group: netip.MustParseAddr("ff02::1:ff9c:a45"), left: 259980 * time.Millisecond},
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v\n got %+v\nwant %+v", err, got, want)
	}
	if got, err := parseTable(octets(t, dumped), 3); err != nil || len(got) > 0 {
		t.Errorf("of another bridge: %v, %v", got, err)
	}
}

// TestTableCutShort: what is cut anywhere is an error, or has fewer entries.
func TestTableCutShort(t *testing.T) {
	whole := octets(t, dumped)
	for n := range whole {
		if got, err := parseTable(whole[:n], 2); err == nil && n != sizePortMessage {
			t.Errorf("%d of %d octets: %v", n, len(whole), got)
		}
	}
}

// TestRequest writes br_port_msg and br_mdb_entry on a little-endian machine.
func TestRequest(t *testing.T) {
	got := entry{port: 6, group: groupA}.request(2)
	want := octets(t, "0700000002000000"+"20000100"+"0600000000000000"+"ff1e000000000000000000000000000a"+"86dd0000")
	if !slices.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
}

// TestReports splits what does not fit into a packet.
func TestReports(t *testing.T) {
	got := reports([]netip.Addr{groupA, groupB})
	want := octets(t, "8f000000"+"00000002"+"04000000"+"ff1e000000000000000000000000000a"+"04000000"+"ff1e000000000000000000000000000b")
	if len(got) != 1 || !slices.Equal(got[0], want) {
		t.Errorf("%x, want %x", got, want)
	}
	many := reports(slices.Repeat([]netip.Addr{groupA}, 2*maxRecords+1))
	if len(many) != 3 || len(many[0]) > 1280-48 || len(many[2]) != sizeHeader+sizeRecord {
		t.Errorf("%d messages, the last of %d octets", len(many), len(many[len(many)-1]))
	}
	if none := reports(nil); len(none) > 0 {
		t.Errorf("reported nothing in %x", none)
	}
}

// FuzzTable reads what a kernel would never say.
func FuzzTable(f *testing.F) {
	f.Add(octets(f, dumped))
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, err := parseTable(b, 2)
		if err == nil && len(entries)*sizeEntry > len(b) {
			t.Errorf("%d entries of %d octets", len(entries), len(b))
		}
	})
}
