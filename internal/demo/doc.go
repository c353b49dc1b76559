// Package demo shows a live IPsec session moving between two gateways, on one
// machine, without privileges, and checks the laws of a move on the wire.
//
//	 this process                         processes of their own
//
//	+--------+  ESP  +-------+   ESP   +-------------+
//	|        |------>| 1     |-------->| sg1         |<-+
//	|  node  |       |  tap  |         | daemon.Run  |  |   inner packets   +------+
//	|        |------>| 2     |-------->+-------------+  +------------------>|      |
//	+--------+       +-------+              ^ CXTP over SCTP over DTLS      | host |
//	    ^            witness \              v                               |      |
//	    |                     \------->+-------------+  +------------------>|      |
//	    |                              | sg2         |<-+                   +------+
//	    |  CTAR, CTAA, Update over UDP | daemon.Run  |                          ^
//	    +----------------------------->+-------------+--- steering hook --------+
//
// The gateways are the program itself, started again in the role that
// [HiddenCommands] gives it: the daemon's own code with a configuration file, a
// certificate and a control socket in a temporary folder. Everything else lives
// here: a mobile node (a userspace IPsec stack and our agent), a host behind the
// gateways, and the tap, which is the wire between the node and the gateways.
// The tap made the keys, so it opens every ESP packet and is the witness for the
// laws: nothing that a gateway says of itself counts.
//
// The tap's three sockets stand for three places on the wire. The gateways know
// the node by the tap's face alone. The node has one address for each gateway,
// and that is how the tap knows which gateway the node meant: the node changes
// its mind only because an authenticated update told it to, and the host changes
// its route only because the target's steering hook did.
//
// Options.Loss puts two more wires in, which lose datagrams: one between the
// gateways' transports, one between them and the node's agent. Options.Crash
// lights a fuse in a gateway before a move, so that its process kills itself
// right before the step of its machine that the point names; it is started again
// a moment later, with its journal and without its SAs. What has become of the
// session is asked at both control sockets and read in the journals, and has to
// be what the table of points says. Each point has a session of its own, with a
// node of its own, while the gateways and what the witness knows go on.
//
// Each move is made hard on purpose. Packets are sent to the old gateway in the
// moment in which it is frozen and the new one is active, and again after it has
// forgotten the session; and packets that the old gateway accepted are sent to
// the new one a second time. Taking one guard away (Options.Break) therefore
// shows every time.
package demo
