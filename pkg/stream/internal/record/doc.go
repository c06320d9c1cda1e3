// Package record reads messages of a stream without a durable consumer: a single message by its sequence (Source), or all
// messages in order without their payloads (Walk). Reading does not change what consumers get.
package record
