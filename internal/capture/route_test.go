package capture

import (
	"bytes"
	"slices"
	"testing"

	"github.com/cxtp/cxtp/cxtp/secret"
)

// handshakeMessage is a fragment of one, size octets long as a whole.
func handshakeMessage(kind byte, size, offset int, body []byte) []byte {
	return append([]byte{kind, 0, byte(size >> 8), byte(size), 0, 0, 0, byte(offset >> 8), byte(offset), 0, byte(len(body) >> 8), byte(len(body))}, body...)
}

func helloBody(r byte, suite uint16) []byte {
	body := append([]byte{0xfe, 0xfd}, bytes.Repeat([]byte{r}, randomSize)...)
	return append(body, 2, 7, 7, byte(suite>>8), byte(suite), 0)
}

// TestHandshake finds the hellos in records of several messages, and of parts
// of one.
func TestHandshake(t *testing.T) {
	const client, server, suite = 1, 2, 0xc02c
	clientHello := handshakeMessage(client, 38, 0, helloBody(0xc1, suite))
	serverHello := handshakeMessage(server, 38, 0, helloBody(0x51, suite))
	certificate := handshakeMessage(11, 3, 0, []byte{0, 0, 0})
	for name, test := range map[string]struct {
		fromClient, fromServer []byte
		connections            int
		why                    Reason
	}{
		"one each":          {clientHello, serverHello, 1, WrongSecret},
		"behind another":    {append(slices.Clone(certificate), clientHello...), append(slices.Clone(certificate), serverHello...), 1, WrongSecret},
		"repeated":          {slices.Repeat(clientHello, 3), slices.Repeat(serverHello, 3), 1, WrongSecret},
		"first part":        {handshakeMessage(client, 999, 0, helloBody(0xc1, suite)), handshakeMessage(server, 999, 0, helloBody(0x51, suite)), 1, WrongSecret},
		"later part":        {handshakeMessage(client, 999, 9, helloBody(0xc1, suite)), serverHello, 0, NoHandshake},
		"later part again":  {clientHello, handshakeMessage(server, 999, 9, helloBody(0x51, suite)), 0, NoHandshake},
		"no answer":         {clientHello, certificate, 0, NoHandshake},
		"only an answer":    {certificate, serverHello, 0, NoHandshake},
		"another client":    {handshakeMessage(client, 38, 0, helloBody(0xc2, suite)), serverHello, 0, NoSecret},
		"an older and more": {append(handshakeMessage(client, 38, 0, helloBody(0xc2, suite)), clientHello...), serverHello, 1, WrongSecret},
		"a newer without":   {append(slices.Clone(clientHello), handshakeMessage(client, 38, 0, helloBody(0xc2, suite))...), serverHello, 1, NoSecret},
		"an older, behind":  {append(slices.Clone(clientHello), slices.Repeat(handshakeMessage(client, 38, 0, helloBody(0xc2, suite)), 2*maxHellos)...), serverHello, 1, NoSecret},
		"another suite":     {clientHello, handshakeMessage(server, 38, 0, helloBody(0x51, 0xcca9)), 0, OtherSuite},
		"short":             {clientHello[:40], serverHello, 0, NoHandshake},
		"short body":        {handshakeMessage(client, 38, 0, helloBody(0xc1, suite)[:30]), serverHello, 0, NoHandshake},
	} {
		log := &KeyLog{map[random]secret.Key{
			random(bytes.Repeat([]byte{0xc1}, randomSize)): secret.New(make([]byte, masterSecretSize)),
		}}
		r := newRoutes(log, &Summary{}).of(pair{}, 1)
		r.handshake(0, test.fromClient)
		r.handshake(1, test.fromServer)
		if len(r.connections) != test.connections || r.why != test.why {
			t.Errorf("%s: %d connections, %v; want %d, %v", name, len(r.connections), r.why, test.connections, test.why)
		}
	}
}
