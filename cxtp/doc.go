// Package cxtp is the Context Transfer Protocol of RFC 4067: its messages, its
// authorisation token, and the state machines of the mobile node, the previous
// and the new access router.
//
// The package is pure. It has no socket, no goroutine, no clock and no file:
// time and messages go in, ordered actions come out, so that whatever it
// decides can be replayed from a transcript. testdata/transcripts holds such
// transcripts, and reading a few is the quickest way to see a move.
//
// # Messages
//
// [Decode] turns octets into one of the message types, [Message.Append] turns
// one into octets. The seven of RFC 4067 are [CTAR], [CTAA], [CTD] (in both its
// forms, CTD and PCTD), [CTDR], [CTC] and [CTReq]; [Outcome], [Update] and
// [UpdateAck] are private and experimental. Contexts travel in context data
// blocks, [CDB]. [Describe] lists every field of a message for people. What is
// wrong with octets that do not parse is a [ParseError].
//
// # Machines
//
// A [Router] is a router's machine. Everything that happens is an [Input] to
// [Router.Step]; when [Router.Deadline] has come, it is [Router.Tick]'s turn.
// Both return [Action]s, to be begun in their order:
//
//	actions := router.Step(time.Now(), cxtp.FromRouter{From: "sg2", Message: m})
//	for _, a := range actions {
//		switch a := a.(type) {
//		case cxtp.Send:     // encode now, hand to the transport
//		case cxtp.SendNode: // likewise, towards the mobile node
//		case cxtp.Do:       // ask the features; the result is a Done
//		case cxtp.Persist:  // append to the journal, sync; then a Done
//		case cxtp.Steer:    // run the steering hook; then a Done
//		case cxtp.Report:   // tell the operator
//		}
//	}
//
// Within, one [Session] is the machine of one session, and a Router only knows
// what is between them. A session's move has a source's half (source.go) and a
// target's (target.go):
//
//	source                              target
//	allocate an epoch, durably
//	export the contexts
//	        ---- PCTD or CTD, stage --->
//	                                    authorise, stage
//	                                    promise "may activate", durably
//	        <--- Outcome, staged -------
//	grant, durably
//	freeze, count
//	        ---- CTD, final ----------->
//	                                    activate
//	        <--- Outcome, active -------
//	redirect what was queued            steer downlink, tell the node
//	        <--- Outcome, steered ------
//	close, release: keys are gone
//	        ---- CTD, closed ---------->
//	                                    merge windows, record "closed"
//	        <--- Outcome, closed -------
//
// A source thaws on "refused" and closes on "active", said by the target that
// its grant names, for the epoch granted, and on nothing else.
//
// What may be copied can go without all this, by RFC 4067 alone: plain.go.
//
// [Agent] is the mobile node's machine: it asks for moves and follows its
// gateway.
//
// # Authorisation
//
// A node proves its wish with a token: RFC 4067's [Token] of 32 bits, or a
// [StrongToken], which is bound to the two routers. It is provisioned for one of
// them, and with the latter agrees with every gateway that it comes to on keys
// that no gateway before it has (rfc/authorisation.md).
package cxtp
