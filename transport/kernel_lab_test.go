//go:build linux && lab

package transport

func init() {
	carriers["sctp"] = func(c *Config) { c.Carrier, c.InsecureSCTP = KernelSCTP, true }
}
