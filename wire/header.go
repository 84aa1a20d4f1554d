package wire

import "strings"

// Headers of requests and answers.
const (
	HeaderErrorCode   = "Nats-Service-Error-Code" // of a failed request, as the NATS service API has it: the number of its [Code]
	HeaderError       = "Nats-Service-Error"      // of a failed request: its message, on one line
	HeaderContentType = "Content-Type"
	ContentJSON       = "application/json" // as content type of a request: it is JSON, and its answer shall be
)

// OneLine makes a text fit for a header.
func OneLine(text string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' {
			return ' '
		}
		return c
	}, text)
}
