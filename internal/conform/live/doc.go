// Package live finds out how a router speaks RFC 4067 by speaking it: it plays the
// mobile node and the neighbouring access router, pAR and nAR in turn, against one
// router at an address.
//
//	         CTAR, CTAA            +--------------+     CTD, CTDR, CT-Req, CTC
//	prober, as the mobile node <-->| router under |<--> prober, as its neighbour
//	          (UDP)                |     test     |      (SCTP over DTLS)
//	                               +--------------+
//
// What the router has to be prepared with, and what the prober has to know of it,
// is a [Subject]: addresses, certificates, and some mobile nodes whose contexts the
// router has, with the keys of their tokens. A case that needs what the subject does
// not have is not run, and says so.
//
//	prober, err := live.Open(subject)
//	report := conform.Run(ctx, subject.Name, live.Cases(prober), strict, nil)
//
// Nothing is believed of the router. It may be silent, slow or dead, send garbage,
// or close the association: that is what the case found, each waits for a bounded
// time, and what is received is kept in bounded room.
//
// # Nodes and their keys
//
// A key authorises one transfer (RFC 4067 section 6.3), and a transfer that succeeds
// takes the contexts away from the router. So each case that shows a right token
// uses up one node of the subject; those that show wrong ones share a node.
//
// # The two ways to finish a transfer
//
// By RFC 4067 alone a transfer is a CTD and its CTDR. A router that speaks our
// control profile (rfc/control-profile.md) gives nothing away for those: with it the
// prober goes through stage, final and close, and gives back what it was given. See
// style.
package live
