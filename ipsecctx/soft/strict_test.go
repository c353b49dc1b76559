package soft

import "testing"

// TestStrict: inbound ends in the step that reads the windows, so what comes after
// it is for the target alone; a thaw begins both directions again.
func TestStrict(t *testing.T) {
	s := gateSession("AES-GCM-256")
	g := newBench(t, func(c *Config) { c.Strict = true })
	must(t, g.Install(testID, s, nil))
	esp := nodeEnd(t, s).uplink(3)

	g.fromNode(esp[0])
	_, err := g.Freeze(ctx, testID)
	must(t, err)
	g.fromNode(esp[1])
	if in := g.in.take(); len(in) != 1 {
		t.Fatalf("%d packets accepted, want the one before the freeze", len(in))
	}
	must(t, g.Thaw(ctx, testID, nil))
	g.fromNode(esp[2])
	if in := g.in.take(); len(in) != 1 {
		t.Fatalf("%d packets accepted after the thaw, want 1", len(in))
	}

	_, err = g.Freeze(ctx, testID)
	must(t, err)
	last, err := g.Close(ctx, testID)
	must(t, err)
	if last[0].Sequence != 3 || last[0].Window[0] != 0b101 {
		t.Errorf("closed at %d with window %b, want 3 and 101", last[0].Sequence, last[0].Window)
	}
}
