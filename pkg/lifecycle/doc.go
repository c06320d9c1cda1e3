// Package lifecycle starts and stops the parts of a process in order: Group for the parts, SignalContext for the
// signals that end it.
package lifecycle
