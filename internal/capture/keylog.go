package capture

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"io"

	"github.com/cxtp/cxtp/cxtp/secret"
)

const (
	randomSize       = 32 // a hello's random (RFC 5246 section 7.4.1.2)
	masterSecretSize = 48 // (RFC 5246 section 8.1)

	// clientRandom is the label of a TLS 1.2 master secret.
	clientRandom = "CLIENT_RANDOM"
)

type random [randomSize]byte

// KeyLog has the master secrets of connections.
type KeyLog struct {
	secrets map[random]secret.Key // by the random of the ClientHello
}

// ReadKeyLog reads a key log in the format of NSS: lines of a label, the
// ClientHello's random and a secret, the latter two in hexadecimal. Lines with
// other labels than CLIENT_RANDOM belong to other versions of TLS and are
// skipped. An error names the line and quotes nothing of it.
func ReadKeyLog(r io.Reader) (*KeyLog, error) {
	log := &KeyLog{map[random]secret.Key{}}
	lines := bufio.NewScanner(r)
	for number := 1; lines.Scan(); number++ {
		words := bytes.Fields(lines.Bytes())
		if len(words) == 0 || string(words[0]) != clientRandom {
			continue
		}
		if err := log.add(words[1:]); err != nil {
			log.Wipe()
			return nil, fmt.Errorf("failed to read line %d of the key log: %w", number, err)
		}
	}
	if err := lines.Err(); err != nil {
		log.Wipe()
		return nil, fmt.Errorf("failed to read the key log: %w", err)
	}
	if len(log.secrets) == 0 {
		return nil, fmt.Errorf("the key log has no line that begins with %s: it must be what a router writes to its transport.insecure_key_log", clientRandom)
	}
	return log, nil
}

var errKeyLogLine = fmt.Errorf("a random of %d octets and a secret of %d must follow %s, in hexadecimal", randomSize, masterSecretSize, clientRandom)

func (k *KeyLog) add(words [][]byte) error {
	if len(words) != 2 || len(words[0]) != 2*randomSize || len(words[1]) != 2*masterSecretSize {
		return errKeyLogLine
	}
	var name random
	master := make([]byte, masterSecretSize)
	_, err1 := hex.Decode(name[:], words[0])
	_, err2 := hex.Decode(master, words[1])
	if err1 != nil || err2 != nil {
		clear(master)
		return errKeyLogLine
	}
	k.secrets[name] = secret.New(master)
	return nil
}

// Len is the number of connections whose secret is known.
func (k *KeyLog) Len() int { return len(k.secrets) }

// Wipe overwrites the secrets.
func (k *KeyLog) Wipe() {
	for _, master := range k.secrets {
		master.Wipe()
	}
}
