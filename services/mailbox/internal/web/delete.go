package web

import (
	"context"
	"net/http"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/services/internal/token"
)

const deleteTimeout = 25 * time.Second

// delete deletes a mail from the mailbox. A handler around the mux has checked that the request comes from one of the inbox's own
// pages.
func (p *Pages) delete(w http.ResponseWriter, r *http.Request) {
	mailbox, ok := p.mailbox(w, r, token.Delete)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), deleteTimeout)
	defer cancel()
	id, err := ulid.ParseStrict(r.PathValue("id"))
	if err != nil {
		p.failed(w, r, mailstore.ErrNotFound)
		return
	}
	if _, err := p.Reader.Delete(ctx, mailbox, id); err != nil {
		p.failed(w, r, err)
		return
	}
	http.Redirect(w, r, inboxPath(mailbox)+"?done=deleted", http.StatusSeeOther)
}

func (p *Pages) askEmpty(w http.ResponseWriter, r *http.Request) {
	mailbox, ok := p.mailbox(w, r, token.Delete)
	if !ok {
		return
	}
	title, _ := p.words.say("empty.title")
	p.show(w, r, http.StatusOK, "empty", page{Title: title, Address: mailbox})
}

func (p *Pages) empty(w http.ResponseWriter, r *http.Request) {
	mailbox, ok := p.mailbox(w, r, token.Delete)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), deleteTimeout)
	defer cancel()
	if _, err := p.Reader.DeleteAll(ctx, mailbox); err != nil {
		p.failed(w, r, err)
		return
	}
	http.Redirect(w, r, inboxPath(mailbox)+"?done=emptied", http.StatusSeeOther)
}
