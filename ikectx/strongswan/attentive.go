package strongswan

import (
	"bufio"
	"bytes"
	"net"
)

// attentive is a connection to charon's control socket on which an event stays
// registered, once it was: charon sends those of a command to whoever has given it, and
// to nobody else. The library registers the event of each command and takes that back
// after it, which is two questions more than the command; each costs charon a job of a
// thread, and us as much as a short list does. They are answered here.
//
// It also reads ahead: the library reads the length of each message first, and a list
// has a message for each IKE SA.
type attentive struct {
	net.Conn
	from       *bufio.Reader
	registered map[string]bool // by the event's name
	answers    bytes.Buffer    // to what charon was not asked
}

func newAttentive(conn net.Conn) *attentive {
	return &attentive{Conn: conn, from: bufio.NewReader(conn), registered: map[string]bool{}}
}

// A message of the control protocol has its length in four octets, then its type. Those
// about events have the event's name last, after its length in an octet.
const (
	messageType = 4
	messageName = messageType + 2

	typeRegister   = 3
	typeUnregister = 4
)

// confirmed is charon's answer to both.
const confirmed = "\x00\x00\x00\x01\x05"

// Write sends a message, if charon has to have it. The library gives whole ones, and the
// next one when the last has its answer.
func (a *attentive) Write(message []byte) (int, error) {
	if len(message) < messageName || message[messageType] != typeRegister && message[messageType] != typeUnregister {
		return a.Conn.Write(message)
	}
	event := string(message[messageName:])
	if message[messageType] == typeRegister && !a.registered[event] {
		a.registered[event] = true
		return a.Conn.Write(message)
	}
	a.answers.WriteString(confirmed)
	return len(message), nil
}

// Read reads what charon has sent, or would have.
func (a *attentive) Read(b []byte) (int, error) {
	if a.answers.Len() > 0 {
		return a.answers.Read(b)
	}
	return a.from.Read(b)
}
