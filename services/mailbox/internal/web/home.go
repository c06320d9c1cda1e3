package web

import (
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/sluice-mail/sluice/services/mailbox/internal/access"
)

type homeData struct {
	Rolled    string
	Asked     string   // what was typed and is no address
	Mailboxes []string // those of the token
	Host      string   // where mail is sent to
}

func (p *Pages) home(w http.ResponseWriter, r *http.Request) {
	grant := access.Of(r.Context())
	if !grant.Known() {
		p.login(w, r)
		return
	}
	p.showHome(w, r, http.StatusOK, "")
}

func (p *Pages) showHome(w http.ResponseWriter, r *http.Request, status int, asked string) {
	title, _ := p.words.say("home.title")
	data := homeData{Asked: asked, Mailboxes: access.Of(r.Context()).Mailboxes(), Host: hostname(r)}
	if !p.Tokens {
		data.Rolled = roll() + "@" + p.domain(r)
	}
	p.show(w, r, status, "home", page{Title: title, Data: data})
}

// open leads from the form to the mailbox.
func (p *Pages) open(w http.ResponseWriter, r *http.Request) {
	if !access.Of(r.Context()).Known() {
		p.login(w, r)
		return
	}
	asked := strings.TrimSpace(r.FormValue("address"))
	if asked != "" && !strings.Contains(asked, "@") {
		if _, err := p.Names.Mailbox(asked); err != nil {
			asked += "@" + p.domain(r)
		}
	}
	mailbox, err := p.Names.Mailbox(asked)
	// SMTP allows such characters in quoted addresses. Typed here, they are a mistake.
	if err != nil || strings.ContainsAny(asked, " \t<>()[],;:\\\"") {
		p.showHome(w, r, http.StatusUnprocessableEntity, asked)
		return
	}
	http.Redirect(w, r, inboxPath(mailbox), http.StatusSeeOther)
}

func (p *Pages) login(w http.ResponseWriter, r *http.Request) {
	title, _ := p.words.say("login.title")
	p.show(w, r, http.StatusUnauthorized, "login", page{Title: title, Data: r.URL.Query().Get("login") == "failed"})
}

func hostname(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	return strings.Trim(host, "[]")
}

func (p *Pages) domain(r *http.Request) string {
	host := hostname(r)
	_, err := netip.ParseAddr(host)
	switch {
	case p.Domain != "":
		return p.Domain
	case err == nil || !strings.Contains(host, ".") || strings.HasSuffix(host, ".localhost"):
		return "example.com"
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// roll suggests a name that is easy to remember and to say aloud. There are about six million: enough to avoid using somebody
// else's by chance, but too few to keep a mailbox secret.
func roll() string {
	adjectives, nouns := strings.Fields(adjectiveList), strings.Fields(nounList)
	number := string([]byte{byte('1' + rand.IntN(9)), byte('0' + rand.IntN(10)), byte('0' + rand.IntN(10))})
	return adjectives[rand.IntN(len(adjectives))] + "-" + nouns[rand.IntN(len(nouns))] + "-" + number
}

const (
	adjectiveList = `able amber ample azure balmy bold brave bright brisk broad calm candid clear clever cosy crisp curly
		dapper deft eager early easy fair fancy fast fine firm fleet fond frank free fresh gentle giddy glad gold grand green
		handy happy hardy hazel jolly keen kind lavish level light lively lucid lucky mellow merry mild misty modest neat
		nimble noble novel olive open placid plain plucky polite proud prime pure quick quiet rapid ready regal rosy royal
		ruby sandy serene sharp shiny silver simple sleek smart snug solid spry steady still stout sunny sure swift tidy
		tranquil true trusty upbeat velvet vivid warm wise witty young zesty`
	nounList = `acorn alder anchor apple aspen badger basil beacon beaver birch bison brook canoe canyon cedar cherry clover
		comet coral cove crane cricket cypress daisy delta dolphin dune eagle elm ember falcon fern finch fjord forest fox
		garden geyser glade grove harbor hawk hazel heron hill ibis inlet iris island ivy juniper kestrel kite lagoon lake
		lantern lark laurel lemon lily linden lynx magpie maple marsh meadow mill moon moss nettle oak oasis olive orchid
		otter owl oyster pearl pebble pepper pine plum poplar prairie puffin quail quartz rapids raven reed reef ridge
		river robin rowan sage salmon sparrow spring spruce starling stream summit swan thistle tide trout tulip valley
		violet walnut weir willow wren`
)
