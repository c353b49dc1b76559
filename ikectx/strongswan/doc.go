// Package strongswan moves the IKE SAs of a stock strongSwan: an agent beside
// charon that makes it an [ikectx.Backend]. Neither charon nor the clients are
// changed; charon has to have its ha plugin, and is told that the agent is the
// other gateway of a pair.
//
// # What the agent hears
//
// The plugin tells of every IKE SA and CHILD SA what its keys are derived from, as
// they come and go, and of every message ID. The agent keeps it, in memory alone,
// as lineages: an IKE SA, and those before it of which CHILD SAs are still alive.
// What charon does not tell is asked for on its control socket (vici): where the
// client is, since MOBIKE and NATs move it without a word, and whether anything is
// under way.
//
// # What the agent says
//
//	Export     nothing. It waits until charon has nothing under way with the client
//	Stage      the lineage, in the order in which it came to be. Charon derives the
//	           keys again, and installs SAs and policies; the IKE SA is passive
//	Freeze     the IKE SA becomes passive: charon drops what comes for it
//	Activate   the message IDs, and that the IKE SA is active
//	Follow     nothing: it is the client that is told
//	Thaw       that it is active again
//	Release    that it is gone, which charon does not tell the client
//
// Nothing of it is answered, and datagrams can be lost where a socket is full, so
// each is read back on the control socket and said again if need be. The exception
// is an import, which would spoil what it finds: that is given up.
//
// # Exchanges under way
//
// charon gives up an exchange of its own for good that is under way when it becomes
// passive, and a rekeyed CHILD SA is there for five seconds more. So the agent
// waits, for eight seconds at most, until there is nothing of the kind, and looks
// again after the freeze. A client that was rekeyed between the stage and the
// freeze is not moved: the session is busy, goes on, and is staged anew.
//
// # Another gateway address
//
// Where gateways do not share an address, charon imports the IKE SA with the
// target's, and the client has to learn of it. charon has no order for that, so the
// agent makes the one request itself ([github.com/cxtp/cxtp/ikectx/ikev2]), from
// charon's own port and with charon's next message ID, and tells charon to go on
// with the one after it. The client's response comes to both; charon ignores it. A
// strongSwan changes the addresses of all its SAs before it responds. Until it has,
// the source goes on to receive.
//
// A client without MOBIKE is refused before anything is imported, and so is one
// whose NAT lets nothing in from the target: that is tried. When it moves, a
// strongSwan takes its policies away for some milliseconds, and what it would send
// or has received then is lost; that is its own doing.
//
// What the client has not confirmed is forgotten when the agent is restarted: it is
// then not repeated.
//
// # After a takeover
//
// A client that is taken over may have exchanged more with the gateway that is gone than
// is known here, and a client with stock software cannot be asked for its message IDs.
// The agent sends it empty requests, from the ID that was next on, until the last of
// them is answered: then charon's next one is known, and it rekeys the CHILD SAs and the
// IKE SA, whose message IDs begin anew in both directions. A client that does not answer
// is said to the operator.
//
// # When one of the two ends
//
// An agent that was restarted has no keys. It lists charon's IKE SAs, finds the
// sessions that they are of by their CHILD SAs, which the kernel gateway has written
// down, and has charon tell of them once more. charon then rekeys all CHILD SAs, or
// else it would not tell of those. What was passive stands where its SAs stand:
// staged, or frozen; what was on its way between the two is made active again.
//
// A charon that ends takes leave of its clients, and tells the agent; one that crashes
// does neither. The agent knows of the end by a connection to charon's control socket
// on which nothing is said. From then on clients are moved as the journal has them.
// The next charon gets them back before it is opened to others: the kernel's SAs are
// taken out, imported anew behind shut policies, and go on with their numbers.
//
// # Inner addresses
//
// The plugin's pools take the address of a client that is gone for free. One that has
// left for another gateway has it there, so its IKE SA is given another address, which
// no pool has, before it is removed: charon then frees nothing. The agent writes down
// which addresses are reserved in that way, and tells the next charon.
//
// # What charon has to be told
//
// Besides the ha plugin, in strongswan.conf: install_routes = no, because the
// gateway's routes are its business, and plugins.kernel-netlink.roam_events = no.
// Without the latter charon looks for better addresses whenever a route or an
// address changes, tells all its clients of those that it has, which makes them
// busy for a moment, and takes them away from a shared IPv6 address that another
// gateway is still the holder of.
//
// # What is exposed
//
// Keys pass between the plugin and the agent in the clear and unauthenticated, on
// the loopback interface, UDP port 4510. Whoever takes the agent's address there
// before the agent does gets them, and could tell charon to drop clients. So the
// agent is to be started before charon, and local users kept from the port
// otherwise, by a packet filter for instance.
package strongswan
