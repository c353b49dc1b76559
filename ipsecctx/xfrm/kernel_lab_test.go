//go:build linux && lab

package xfrm

import (
	"testing"

	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
	"github.com/cxtp/cxtp/lab/topology"
	"github.com/cxtp/cxtp/lab/uml"
)

func TestMain(m *testing.M) {
	uml.Init()
	m.Run()
}

func init() {
	kernels["linux"] = func(t *testing.T) kernel {
		lab, err := topology.New()
		must(t, err)
		t.Cleanup(func() { must(t, lab.Close()) })
		var conn *uapi.Conn
		must(t, lab.SG1.Do(func() (err error) {
			if conn, err = uapi.Dial(); err != nil {
				return err
			}
			return hashPolicies(ctx, conn)
		}))
		t.Cleanup(func() { conn.Close() })
		return conn
	}
}
