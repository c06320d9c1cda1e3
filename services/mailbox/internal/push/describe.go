package push

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sluice-mail/sluice/services/mailbox/internal/api"
)

// Path is the pattern of the event stream.
const Path = "/api/v1/mailboxes/{address}/events"

// Operation describes the event stream for programs and people.
func Operation() *huma.Operation {
	return &huma.Operation{
		OperationID: "follow-mailbox", Method: http.MethodGet, Path: Path,
		Summary: "Follow a mailbox",
		Description: "Server-sent events: an event \"message\" for each new mail, with its summary as data. Without Last-Event-ID " +
			"or after, the stream begins now. After an interruption a browser's EventSource resumes by itself. Other programs send the id of " +
			"the last event that they received. They get everything stored since, and possibly some earlier events again, which have the same ids as before. " +
			"Every mail is sent, even one that was stored late and has an older id than those before it. A comment is sent every 20 seconds.",
		Parameters: []*huma.Param{
			api.AddressParam(),
			{
				Name: "Last-Event-ID", In: "header", Schema: cursorSchema(),
				Description: "The id of the last event received.",
			},
			{
				Name: "after", In: "query", Schema: cursorSchema(),
				Description: "The same, for clients that cannot set header fields. Last-Event-ID takes precedence.",
			},
		},
		Responses: map[string]*huma.Response{"200": {
			Description: "The stream. It ends when the server stops or the reader is too slow: resume then.",
			Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}}},
		}},
		Errors: []int{http.StatusUnauthorized, http.StatusNotFound, http.StatusUnprocessableEntity, http.StatusTooManyRequests},
	}
}

func cursorSchema() *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Pattern: `^[0-9]{1,15}-[0-7][0-9A-HJKMNP-TV-Z]{25}$`}
}
