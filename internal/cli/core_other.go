//go:build !unix

package cli

func forbidCoreDumps() error { return nil }
