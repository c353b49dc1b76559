//go:build linux

package topology

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
)

// Protection is IPsec of what one address sends to another, in the mode "transport" or
// "tunnel": the words of ip commands that add an SA with a key of its own, ESP with
// AES-GCM, and the policy of a direction that demands it. The SA goes to both ends, the
// policy "out" to the one and "in" to the other.
func Protection(mode string, src, dst netip.Addr) (state []string, policy func(dir string) []string) {
	fresh := make([]byte, 24)
	rand.Read(fresh)
	spi := binary.BigEndian.Uint32(fresh) | 1<<31 // none of those that are reserved
	words := fmt.Sprintf("xfrm state add src %s dst %s proto esp spi 0x%x reqid 1 mode %s replay-window 32 aead rfc4106(gcm(aes)) 0x%s 128",
		src, dst, spi, mode, hex.EncodeToString(fresh[4:]))
	return strings.Fields(words), func(dir string) []string {
		return strings.Fields(fmt.Sprintf("xfrm policy add src %s dst %s dir %s priority 100 tmpl src %[1]s dst %[2]s proto esp reqid 1 mode %[4]s", src, dst, dir, mode))
	}
}

// ProtectSync has ESP in transport mode demanded on the sync link for everything between the gateways'
// addresses there: what an operator has who configured IPsec between the two.
func (t *Topology) ProtectSync(ctx context.Context) error {
	for _, ipv6 := range []bool{false, true} {
		one, two := SG1Sync.Of(ipv6), SG2Sync.Of(ipv6)
		for _, way := range []struct {
			src, dst netip.Addr
			from, to *Node
		}{{one, two, t.SG1, t.SG2}, {two, one, t.SG2, t.SG1}} {
			state, policy := Protection("transport", way.src, way.dst)
			for _, command := range []struct {
				at    *Node
				words []string
			}{{way.from, state}, {way.to, state}, {way.from, policy("out")}, {way.to, policy("in")}} {
				if _, err := command.at.Run(ctx, "ip", command.words...); err != nil {
					return fmt.Errorf("failed to protect the sync link: %w", err)
				}
			}
		}
	}
	return nil
}
