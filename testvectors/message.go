package testvectors

// Message is what a message of RFC 4067 says, in the form in which vectors and the
// line protocol of `cxtp conform` (doc/conformance.md) write it. What a type of
// message does not have is absent; what is absent is zero.
type Message struct {
	Type      string   `json:"type"` // "CTAR", "CTAA", "CTD", "PCTD", "CTDR", "CTC" or "CT-Req"
	Ack       bool     `json:"ack,omitempty"`
	Success   bool     `json:"success,omitempty"`
	Elapsed   uint32   `json:"elapsed,omitempty"`  // milliseconds
	Previous  string   `json:"previous,omitempty"` // an address; its family is V
	Router    string   `json:"router,omitempty"`
	Sequence  uint32   `json:"sequence,omitempty"`
	Token     string   `json:"token,omitempty"` // four octets, in hexadecimal
	Algorithm uint16   `json:"algorithm,omitempty"`
	Key       string   `json:"key,omitempty"` // in hexadecimal, without its padding
	Blocks    []Block  `json:"blocks,omitempty"`
	Statuses  []Status `json:"statuses,omitempty"`
}

// Block is a context data block. One without presence and data is the request
// block of four octets.
type Block struct {
	FPT      uint16 `json:"fpt"`
	Presence string `json:"presence,omitempty"` // eight hexadecimal digits; absent is P = 0
	// Data are in hexadecimal, without padding. A receiver cannot tell padding from
	// data, so an answer may have up to seven zero octets more.
	Data string `json:"data,omitempty"`
}

// Status is an entry of a CTAA or CTDR.
type Status struct {
	FPT    uint16 `json:"fpt"`
	Status uint8  `json:"status"`
}
