package ipsecctx

import (
	"bytes"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features/profile"
	"pgregory.net/rapid"
)

// TestArenasAreWiped encodes where other sessions will be encoded.
func TestArenasAreWiped(t *testing.T) {
	var lent []byte
	blocks, err := profile.Encode(1, func(blocks []cxtp.CDB, arena []byte) ([]cxtp.CDB, []byte, error) {
		lent = arena[:cap(arena)]
		return AppendSession(blocks, arena, testSession())
	})
	if err != nil || len(blocks) != 3 || len(blocks[2].Data) == 0 {
		t.Fatalf("%v, %v", blocks, err)
	}
	if !bytes.Equal(lent, make([]byte, len(lent))) {
		t.Error("something is left behind")
	}
}

// TestDecodersLetGo decodes a session as Claims and Stage do. Afterwards nothing
// in the memory that is used again refers to the blocks: wiping it leaves them
// as they are, and none of their octets can be found in it.
func TestDecodersLetGo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		blocks, err := EncodeSession(drawSession(t))
		if err != nil {
			t.Skip("does not fit")
		}
		var before [][]byte
		for _, b := range blocks {
			before = append(before, bytes.Clone(b.Data))
		}
		var s Session
		if err := s.Decode(blocks); err != nil {
			t.Fatal(err)
		}
		s.letGo()
		s.Wipe()
		for i, b := range blocks {
			if !bytes.Equal(b.Data, before[i]) {
				t.Fatalf("block %d has changed", i)
			}
		}
		for i := range s.SAs {
			for _, k := range s.SAs[i].secrets() {
				if !k.IsZero() {
					t.Fatalf("SA %d has a key still", i)
				}
			}
			for _, sel := range s.SAs[i].Selectors {
				if sel.Name.Data != nil || sel.Sensitivity != nil {
					t.Fatalf("SA %d has a name or a label still", i)
				}
			}
		}
		if s.LocalID.Data != nil || s.RemoteID.Data != nil || s.EAPIdentity != nil {
			t.Fatal("an identity is there still")
		}
	})
}
