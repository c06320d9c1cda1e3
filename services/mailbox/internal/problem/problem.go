// Package problem writes errors in the format of RFC 9457: application/problem+json. Every error of the mailbox service's own
// API has this format, whichever layer detects it.
package problem

import (
	"encoding/json"
	"net/http"
)

// Problem is the body of an error. It never repeats what the client sent.
type Problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
}

// ContentType is the media type of a Problem.
const ContentType = "application/problem+json"

// Write answers with a problem. detail is a sentence for whoever reads it: what to do, nothing about our insides.
func Write(w http.ResponseWriter, status int, detail string) {
	h := w.Header()
	h.Set("Content-Type", ContentType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	// An error would be that the client has gone.
	_ = json.NewEncoder(w).Encode(Problem{Title: http.StatusText(status), Status: status, Detail: detail})
}
