package bridge

import (
	"encoding/binary"
	"net/netip"
)

const (
	typeReport     = 143 // MLDv2 Listener Report, RFC 3810 section 5.2
	recordExclude  = 4   // CHANGE_TO_EXCLUDE_MODE: from any source
	sizeHeader     = 8
	sizeRecord     = 20
	maxRecords     = (1280 - 40 - 8 - sizeHeader) / sizeRecord // in a packet that every link takes
	reportHopLimit = 1
)

// reportTo is where MLDv2 Reports go: all MLDv2-capable routers.
var reportTo = netip.MustParseAddr("ff02::16")

// routerAlert is the hop-by-hop header of every MLD message (RFC 3810 section 5): the
// Router Alert option for MLD, and padding.
var routerAlert = []byte{0, 0, 5, 2, 0, 0, 1, 0}

// reports are the messages that say that somebody on the link listens to the groups.
// The kernel computes the checksum.
func reports(groups []netip.Addr) (messages [][]byte) {
	for len(groups) > 0 {
		some := groups[:min(len(groups), maxRecords)]
		groups = groups[len(some):]
		m := binary.BigEndian.AppendUint16([]byte{typeReport, 0, 0, 0, 0, 0}, uint16(len(some)))
		for _, g := range some {
			m = append(m, recordExclude, 0, 0, 0)
			m = append(m, g.AsSlice()...)
		}
		messages = append(messages, m)
	}
	return messages
}
