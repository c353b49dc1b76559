package strongswan

import (
	"net"
	"testing"
)

// An event is registered once on a connection, however often a command wants it, and
// once more on the next connection.
func TestEventsStayRegistered(t *testing.T) {
	f, c := startFake(t, fakeSA{name: "clients", state: established, at: "192.0.2.1", unique: 1, id: spis{1, 2}})
	look := func() {
		t.Helper()
		for range 3 {
			if all, err := c.IKESAs(t.Context(), 0); err != nil || len(all) != 1 || all[0].SPIi != 1 {
				t.Fatalf("%+v, %v", all, err)
			}
			if all, err := c.Connections(t.Context()); err != nil || len(all) != 1 {
				t.Fatalf("%+v, %v", all, err)
			}
		}
	}
	look()
	if told := f.toldOf(); told != 2 {
		t.Errorf("charon was told %d times of two events", told)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	look()
	if told := f.toldOf(); told != 4 {
		t.Errorf("charon was told %d times of two events on two connections", told)
	}
}

// once counts how often something is read.
type once struct {
	net.Conn
	reads int
}

func (o *once) Read(b []byte) (int, error) {
	o.reads++
	return o.Conn.Read(b)
}

// What has come is read at once: not the length of each message, and then the message.
func TestReadAhead(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	go far.Write([]byte(confirmed + confirmed))
	conn := &once{Conn: near}
	a := newAttentive(conn)
	for _, size := range []int{4, 1, 4, 1} {
		if n, err := a.Read(make([]byte, size)); n != size || err != nil {
			t.Fatalf("%d octets of %d, %v", n, size, err)
		}
	}
	if conn.reads != 1 {
		t.Errorf("two messages took %d reads", conn.reads)
	}
}
