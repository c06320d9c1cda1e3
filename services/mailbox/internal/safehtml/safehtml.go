package safehtml

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/microcosm-cc/bluemonday"
	"golang.org/x/net/html"
)

const (
	// MaxInput bounds the HTML that is processed, in bytes; the rest is left out.
	MaxInput = 1 << 20
	// InlineBudget bounds the inline images of one mail together, in bytes before they become base64.
	InlineBudget = 5 << 20
	// atOnce bounds how many mails are processed at the same time: the worst take about a second.
	atOnce = 2
)

// Options say what one mail may show.
type Options struct {
	// Remote keeps images from other hosts. The reader's browser fetches them, never this service.
	Remote bool
	// Inline returns at most limit bytes of the part that a cid: URL names; false when there is none or it is longer. Nil:
	// there are no inline images.
	Inline func(contentID string, limit int64) ([]byte, bool)
}

// Result is harmless HTML, to be put into the body of a page.
type Result struct {
	HTML string
	// Remote counts the images of other hosts, whether they were let through or not.
	Remote int
	// Cut says that not everything is there: the HTML was longer than MaxInput, or the images than InlineBudget.
	Cut bool
}

// Sanitiser makes HTML harmless. Its methods may be called from any goroutine.
type Sanitiser struct {
	policy *bluemonday.Policy
	slots  chan struct{}
}

// New makes a Sanitiser.
func New() *Sanitiser {
	return &Sanitiser{policy: newPolicy(), slots: make(chan struct{}, atOnce)}
}

// Clean sanitises the HTML of a mail, however malformed it is. It waits while too many others are being processed; the only error
// is the context's.
func (s *Sanitiser) Clean(ctx context.Context, page string, options Options) (Result, error) {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return Result{}, fmt.Errorf("waiting to make a mail's HTML harmless: %w", ctx.Err())
	}
	p := pass{options: options, budget: InlineBudget}
	if len(page) > MaxInput {
		page, p.result.Cut = page[:MaxInput], true
		for !utf8.ValidString(page[max(0, len(page)-utf8.UTFMax):]) && len(page) > MaxInput-utf8.UTFMax {
			page = page[:len(page)-1]
		}
	}
	p.run(s.policy.Sanitize(page))
	return p.result, nil
}

// Text is Clean without images and without a context: it waits for as long as necessary.
func (s *Sanitiser) Text(page string) string {
	result, _ := s.Clean(context.Background(), page, Options{}) // the context never ends
	return result.HTML
}

// pass rewrites what bluemonday has let through.
type pass struct {
	options Options
	budget  int64
	nesting nesting
	result  Result
	out     strings.Builder
}

func (p *pass) run(page string) {
	for z := html.NewTokenizer(strings.NewReader(page)); ; {
		switch z.Next() {
		case html.ErrorToken:
			p.result.HTML = p.out.String()
			return
		case html.TextToken:
			// Not the raw bytes: what the tokenizer read as text is escaped, so that every browser reads it as text too.
			p.out.WriteString(html.EscapeString(string(z.Text())))
		case html.StartTagToken, html.SelfClosingTagToken:
			token := z.Token()
			token.Type = html.StartTagToken
			token.Data = renamed(token.Data)
			ended, ok := p.nesting.start(token.Data)
			p.end(ended)
			if ok {
				p.start(&token)
				p.out.WriteString(token.String())
			}
		case html.EndTagToken:
			name, _ := z.TagName()
			p.end(p.nesting.end(renamed(string(name))))
		}
	}
}

// renamed: the page has its own body element. That of the mail becomes an element inside it, which keeps its colours.
func renamed(element string) string {
	if element == "body" {
		return "div"
	}
	return element
}

func (p *pass) end(elements []string) {
	for _, element := range elements {
		p.out.WriteString("</" + element + ">")
	}
}

func (p *pass) start(token *html.Token) {
	attributes := token.Attr[:0]
	for _, a := range token.Attr {
		switch a.Key {
		case "style":
			if a.Val = cleanStyle(a.Val); a.Val == "" {
				continue
			}
		case "src":
			if token.Data != "img" {
				continue
			}
			if a.Val = p.image(a.Val); a.Val == "" {
				continue
			}
		case "href", "target", "rel":
			continue // see below
		}
		attributes = append(attributes, a)
	}
	if token.Data == "a" {
		attributes = appendLink(attributes, token.Attr)
	}
	token.Attr = attributes
}
