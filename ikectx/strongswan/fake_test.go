package strongswan

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/cxtp/cxtp/ikectx/strongswan/ha"
)

// fakeCharon answers list-sas on a control socket, and list-conns: with a connection
// "clients", whose child is "net". It tells what it has to those alone who have
// registered the event.
type fakeCharon struct {
	mu     sync.Mutex
	sas    []fakeSA
	asked  int // how often for one
	listed int // and for all
	told   int // how often that an event is to be registered, or is not any more

	rekeys []string // that were asked for, as their parameters
}

// fakeSA is an IKE SA of a fake charon.
type fakeSA struct {
	name, state, at string
	port            uint16 // 0 = 500
	unique          uint32
	id              spis
	virtual         []netip.Addr
	children        []*ha.ChildAdd // that are installed
}

// startFake opens the control socket of a fake charon with IKE SAs.
func startFake(t *testing.T, sas ...fakeSA) (*fakeCharon, *Charon) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "vici")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	f := &fakeCharon{sas: sas}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			go f.serve(conn)
		}
	}()
	c := NewCharon(path)
	t.Cleanup(func() { c.Close() })
	return f, c
}

// set gives it other IKE SAs.
func (f *fakeCharon) set(sas ...fakeSA) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sas = sas
}

// counts are how often it was asked for one and for all.
func (f *fakeCharon) counts() (one, all int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked, f.listed
}

// toldOf is how often it was told of an event.
func (f *fakeCharon) toldOf() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.told
}

// The packets of the control protocol: a length, a type, and for a command or an
// event its name before its message.
const (
	packetCommand    = 0
	packetResponse   = 1
	packetRegister   = 3
	packetUnregister = 4
	packetConfirm    = 5
	packetEvent      = 7
)

func (f *fakeCharon) serve(conn net.Conn) {
	defer conn.Close()
	registered := map[string]bool{}
	event := func(name, body string) {
		if registered[name] {
			reply(conn, packetEvent, append([]byte{byte(len(name))}, name+body...))
		}
	}
	for {
		var size uint32
		if binary.Read(conn, binary.BigEndian, &size) != nil {
			return
		}
		packet := make([]byte, size)
		if _, err := io.ReadFull(conn, packet); err != nil {
			return
		}
		switch packet[0] {
		case packetRegister, packetUnregister:
			f.mu.Lock()
			f.told++
			f.mu.Unlock()
			registered[string(packet[2:])] = packet[0] == packetRegister
			reply(conn, packetConfirm, nil)
		case packetCommand:
			switch command := packet[2 : 2+packet[1]]; string(command) {
			case "list-conns":
				event("list-conn", "\x01\x07clients"+"\x01\x08children"+"\x01\x03net"+"\x02\x02\x02")
			case "rekey":
				f.mu.Lock()
				f.rekeys = append(f.rekeys, string(packet[2+packet[1]:]))
				f.mu.Unlock()
			default:
				for _, sa := range f.wanted(packet[2+packet[1]:]) {
					event("list-sa", string(sa.message()))
				}
			}
			reply(conn, packetResponse, nil)
		}
	}
}

func reply(conn net.Conn, kind byte, body []byte) {
	conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(1+len(body))), append([]byte{kind}, body...)...))
}

// wanted are the IKE SAs that a list-sas asks for.
func (f *fakeCharon) wanted(filter []byte) (all []fakeSA) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(filter) == 0 {
		f.listed++
		return slices.Clone(f.sas)
	}
	f.asked++
	for _, sa := range f.sas {
		if bytes.HasSuffix(filter, keyValue("ike-id", fmt.Sprint(sa.unique))) {
			all = append(all, sa)
		}
	}
	return all
}

func (sa fakeSA) message() []byte {
	const section, end, list, item, endOfList = 1, 2, 4, 5, 6
	m := append([]byte{section, byte(len(sa.name))}, sa.name...)
	for _, kv := range [][2]string{
		{"uniqueid", fmt.Sprint(sa.unique)}, {"state", sa.state},
		{"initiator-spi", fmt.Sprintf("%016x", sa.id[0])}, {"responder-spi", fmt.Sprintf("%016x", sa.id[1])},
		{"local-host", sa.at}, {"local-port", "500"}, {"remote-host", sa.at}, {"remote-port", fmt.Sprint(cmp.Or(sa.port, 500))},
	} {
		m = append(m, keyValue(kv[0], kv[1])...)
	}
	m = append(append(m, list, 11), "remote-vips"...)
	for _, a := range sa.virtual {
		m = append(binary.BigEndian.AppendUint16(append(m, item), uint16(len(a.String()))), a.String()...)
	}
	m = append(m, endOfList)
	m = append(m, "\x01\x09child-sas"...)
	for i, c := range sa.children {
		m = append(m, section, 1, byte('a'+i))
		for _, kv := range [][2]string{
			{"name", c.ConfigName}, {"state", installed}, {"uniqueid", fmt.Sprint(i + 1)},
			{"spi-in", fmt.Sprintf("%08x", c.InboundSPI)}, {"spi-out", fmt.Sprintf("%08x", c.OutboundSPI)},
		} {
			m = append(m, keyValue(kv[0], kv[1])...)
		}
		m = append(m, end)
	}
	return append(m, end, end)
}

func keyValue(key, value string) []byte {
	const pair = 3
	m := append([]byte{pair, byte(len(key))}, key...)
	return append(binary.BigEndian.AppendUint16(m, uint16(len(value))), value...)
}
