package cxtp

// Abandon ends a request whose answer nobody waits for any more: it is not
// repeated. Its token key stays used, because it may have been sent.
func (a *Agent) Abandon() { a.asking = nil }

// Unfollow takes back the acceptance of an update that could not be followed or
// recorded: number is what [Agent.Number] was before it. The router repeats the
// update because nothing acknowledges it, and it is then followed anew.
func (a *Agent) Unfollow(number uint64) { a.cfg.Number = min(a.cfg.Number, number) }
