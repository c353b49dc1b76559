//go:build !linux

package harden

func lockMemory() bool { return false }
