// Package lab has the tests that need a real kernel: IPsec traffic between the
// namespaces of package topology, moves between gateways while it flows, and a
// witness on the wire that says whether the laws were kept. They are built with
// the tag lab and run in a User-Mode Linux guest by lab/run; README.md says how.
package lab
