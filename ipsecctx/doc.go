// Package ipsecctx is the IPsec feature context: what has to travel for an
// IPsec session to go on at another security gateway, as Go values and as the
// context data blocks of RFC 4067.
//
// The profile is specified in rfc/ipsec-profile.md.
package ipsecctx
