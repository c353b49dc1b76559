package ikectx

import (
	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features/profile"
)

// The fields of the dynamic block (IKE profile section 7) in the order of their
// presence bits.
const (
	dynGeneration = iota
	dynFlags
	dynNextRequest
	dynNextExpected
	dynRequests
	dynResponses
	dynIV
	dynIdle
)

var dynamicLayout = profile.NewLayout(cxtp.FPTIKEDynamic, "IKE dynamic block",
	[]int{dynGeneration},
	[]string{
		dynGeneration:   "generation",
		dynFlags:        "flags",
		dynNextRequest:  "next request",
		dynNextExpected: "next expected request",
		dynRequests:     "requests",
		dynResponses:    "responses",
		dynIV:           "next IV",
		dynIdle:         "idle",
	})

func (d *Dynamic) flags() []flag {
	return []flag{{0x80, "unsettled", &d.Unsettled}}
}

// encode appends the block's data to arena.
func (d *Dynamic) encode(arena []byte) (cxtp.CDB, error) {
	w := writer{profile.NewWriter(dynamicLayout, arena)}
	w.U32(dynGeneration, d.Generation, 0)
	w.flags(dynFlags, d.flags())
	w.U32(dynNextRequest, d.NextRequest, 0)
	w.U32(dynNextExpected, d.NextExpected, 0)
	w.messages(dynRequests, d.Requests)
	w.messages(dynResponses, d.Responses)
	w.U64(dynIV, d.IV, 0)
	w.Age(dynIdle, d.Idle)
	return w.Finish(nil)
}

// read reads the block into d, which is zero.
func (d *Dynamic) read(r *reader) {
	d.Generation = r.U32(dynGeneration, 0)
	r.flags(dynFlags, d.flags())
	d.NextRequest, d.NextExpected = r.U32(dynNextRequest, 0), r.U32(dynNextExpected, 0)
	d.Requests, d.Responses = r.messages(dynRequests), r.messages(dynResponses)
	d.IV = r.U64(dynIV, 0)
	d.Idle = r.Seconds(dynIdle)
}
