// Package record reads the messages of a stream as they are: one by its sequence (Source), or all of them in order
// without their payloads (Walk). Neither consumes anything.
package record
