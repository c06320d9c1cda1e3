package mailcache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"go.uber.org/goleak"

	"github.com/sluice-mail/sluice/pkg/mailcache"
	"github.com/sluice-mail/sluice/pkg/mailcache/embedded"
	"github.com/sluice-mail/sluice/pkg/mailcache/memcachedtest"
	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/mailstore/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// backend returns an address and how to connect to it.
type backend func(t *testing.T) (addr string, dial mailcache.DialFunc)

func real(t *testing.T) (string, mailcache.DialFunc) { return memcachedtest.Start(t).Addr, nil }

func stand(t *testing.T) (string, mailcache.DialFunc) {
	t.Helper()
	s, err := embedded.New(64 << 20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return "embedded:1", s.DialContext
}

func TestSuite(t *testing.T) {
	for name, b := range map[string]backend{"memcached": real, "embedded": stand} {
		t.Run(name, func(t *testing.T) {
			for name, test := range map[string]func(*testing.T, *mailcache.Cache){
				"Messages":                          messages,
				"PagesAreLoadedOnce":                pagesAreLoadedOnce,
				"DeletionWhileLoading":              deletionWhileLoading,
				"SlowReaderDoesNotBringBackOld":     slowReader,
				"OnlyOneReaderFills":                onlyOneFills,
				"FailedLoad":                        failedLoad,
				"LongPage":                          longPage,
				"DeletingWhatIsNotThereIsNoTrouble": deletingNothing,
				"ManyPagesAreDeleted":               manyPages,
			} {
				t.Run(name, func(t *testing.T) {
					addr, dial := b(t)
					test(t, open(t, mailcache.Config{Addrs: []string{addr}, Timeout: 5 * time.Second}, dial))
				})
			}
		})
	}
}

func open(t *testing.T, cfg mailcache.Config, dial mailcache.DialFunc) *mailcache.Cache {
	t.Helper()
	c := mailcache.New(cfg, dial, slog.New(slog.DiscardHandler), nil)
	t.Cleanup(c.Close)
	return c
}

func packer(t *testing.T) *mailstore.Packer {
	t.Helper()
	p, err := mailstore.NewPacker(mailstore.CodecZstd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// mailOf is a mail as the cachewarmer hands it over.
func mailOf(raw []byte) mailcache.Mail {
	m := storetest.NewMail(time.Now(), raw, "a@example.com")
	return mailcache.Mail{ID: m.ID, Envelope: m.Envelope, Raw: raw}
}

func messages(t *testing.T, c *mailcache.Cache) {
	p := packer(t)
	mails := []mailcache.Mail{
		mailOf([]byte{}), mailOf([]byte("short\r\n")), mailOf(storetest.Text(20_000)), mailOf(noise(20_000)),
		mailOf(storetest.Text(800_000)), mailOf(noise(mailcache.MaxBody)), mailOf(storetest.Text(3 << 20)), mailOf(noise(mailcache.MaxBody + 1)), mailOf(nil),
	}
	for i := range 300 { // some calls of one, some of all
		mails = append(mails, mailOf(storetest.Text(i*30)))
	}
	for _, m := range mails {
		if _, ok := c.Message(m.ID); ok {
			t.Fatal("found before it was set")
		}
	}
	outcomes := append(c.SetMessages(mails[:1]), c.SetMessages(mails[1:])...)
	for i, m := range mails {
		want := mailcache.Cached
		if m.Raw == nil || len(m.Raw) == mailcache.MaxBody+1 {
			want = mailcache.TooLarge
		}
		if outcomes[i] != want {
			t.Fatalf("%d bytes: outcome %v", len(m.Raw), outcomes[i])
		}
		got, ok := c.Message(m.ID)
		if ok != (want == mailcache.Cached) || ok && !bytes.Equal(got.Envelope, m.Envelope) {
			t.Fatalf("%d bytes: %v, %+v", len(m.Raw), ok, got)
		}
		if bs, ok := got.Raw(p); ok != (want == mailcache.Cached) || ok && !bytes.Equal(bs, m.Raw) {
			t.Errorf("%d bytes: other bytes came back (%v)", len(m.Raw), ok)
		}
		got.Body = append([]byte("x"), got.Body...)
		if _, ok := got.Raw(p); ok {
			t.Error("a damaged body was believed")
		}
	}
}

// noise is bytes that do not pack.
func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{}).Read(b)
	return b
}

// page is n entries, newest first.
func page(n int) []mailstore.Entry {
	entries := []mailstore.Entry{}
	for i := range n {
		id := ulid.MustNewDefault(time.Now().Add(-time.Duration(i) * time.Minute))
		entries = append(entries, mailstore.Entry{ID: id, Mailbox: "a@example.com", Sender: "s@example.net", Size: int64(i), Flags: 1<<63 + uint64(i), Stored: time.UnixMilli(1_800_000_000_000 + int64(i)).UTC(), Seen: i%2 == 1,
			IP: netip.MustParseAddr("2001:db8::1"), Received: id.Timestamp().UTC(), Derived: mailstore.Derived{Subject: fmt.Sprint("mail ", i), HasAttachment: i%2 == 0}})
	}
	return entries
}

// newest reads the newest most mails of a page, and sees that each of them is found by its id as well.
func newest(t *testing.T, c *mailcache.Cache, mailbox string, most int, load func(context.Context) ([]mailstore.Entry, error)) ([]mailstore.Entry, bool, error) {
	t.Helper()
	p, err := c.Page(t.Context(), mailbox, load)
	if err != nil {
		return nil, false, err
	}
	entries, whole, err := p.Newest(most)
	for _, e := range entries {
		if found, ok := p.Find(e.ID); !ok || found != e {
			t.Errorf("%s is found as %+v, want %+v", e.ID, found, e)
		}
	}
	if _, found := p.Find(ulid.Make()); found {
		t.Error("a mail is found that is not there")
	}
	return entries, whole, err
}

// ask reads a page and says whether the database was asked.
func ask(t *testing.T, c *mailcache.Cache, mailbox string, inDatabase []mailstore.Entry) (got []mailstore.Entry, asked bool) {
	t.Helper()
	got, _, err := newest(t, c, mailbox, mailcache.PageEntries, func(context.Context) ([]mailstore.Entry, error) {
		asked = true
		return inDatabase, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got, asked
}

func pagesAreLoadedOnce(t *testing.T, c *mailcache.Cache) {
	for _, n := range []int{0, 1, 100} { // an empty mailbox is worth caching too
		mailbox, want := fmt.Sprint(n, "@example.com"), page(n)
		if got, asked := ask(t, c, mailbox, want); !asked || !reflect.DeepEqual(got, want) {
			t.Fatalf("first: asked %v, %d entries", asked, len(got))
		}
		if got, asked := ask(t, c, mailbox, page(3)); asked || !reflect.DeepEqual(got, want) {
			t.Errorf("second: asked %v\n%+v\n%+v", asked, got, want)
		}
		if c.DeletePages([]string{mailbox}) != 0 {
			t.Error("not deleted")
		}
		if got, asked := ask(t, c, mailbox, page(3)); !asked || len(got) != 3 {
			t.Errorf("after the deletion: asked %v, %d entries", asked, len(got))
		}
	}
}

// New mail is stored, and announced, while a reader has asked the database but not yet filled the page.
func deletionWhileLoading(t *testing.T, c *mailcache.Cache) {
	got, _, err := newest(t, c, "a@example.com", mailcache.PageEntries, func(context.Context) ([]mailstore.Entry, error) {
		old := page(1)
		c.DeletePages([]string{"a@example.com"})
		return old, nil
	})
	if err != nil || len(got) != 1 {
		t.Fatal(got, err)
	}
	if got, asked := ask(t, c, "a@example.com", page(2)); !asked || len(got) != 2 {
		t.Errorf("an old page was cached after the deletion: %d entries", len(got))
	}
}

// The same, and another reader has filled the page anew before the first is done.
func slowReader(t *testing.T, c *mailcache.Cache) {
	_, _, err := newest(t, c, "a@example.com", mailcache.PageEntries, func(context.Context) ([]mailstore.Entry, error) {
		old := page(1)
		c.DeletePages([]string{"a@example.com"})
		if got, asked := ask(t, c, "a@example.com", page(2)); !asked || len(got) != 2 {
			t.Error("the second reader was not let in")
		}
		return old, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, asked := ask(t, c, "a@example.com", page(2)); asked || len(got) != 2 {
		t.Errorf("asked %v, %d entries; want the second reader's page", asked, len(got))
	}
}

func onlyOneFills(t *testing.T, c *mailcache.Cache) {
	_, _, err := newest(t, c, "a@example.com", mailcache.PageEntries, func(context.Context) ([]mailstore.Entry, error) {
		// A second reader is served from the database meanwhile.
		if got, asked := ask(t, c, "a@example.com", page(5)); !asked || len(got) != 5 {
			t.Errorf("asked %v, %d entries", asked, len(got))
		}
		return page(2), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, asked := ask(t, c, "a@example.com", nil); asked || len(got) != 2 {
		t.Errorf("asked %v, %d entries; want the first reader's", asked, len(got))
	}
}

func failedLoad(t *testing.T, c *mailcache.Cache) {
	away := errors.New("database away")
	_, _, err := newest(t, c, "a@example.com", mailcache.PageEntries, func(context.Context) ([]mailstore.Entry, error) { return nil, away })
	if !errors.Is(err, away) {
		t.Fatal(err)
	}
	if got, asked := ask(t, c, "a@example.com", page(2)); !asked || len(got) != 2 {
		t.Errorf("asked %v, %d entries", asked, len(got))
	}
}

// However long the mailbox, and however few are wanted: what is answered is the newest, and whether that is all is known.
func longPage(t *testing.T, c *mailcache.Cache) {
	for _, length := range []int{0, 1, 5, mailcache.PageEntries - 1, mailcache.PageEntries, mailcache.PageEntries + 20} {
		for _, most := range []int{1, 5, mailcache.PageEntries} {
			mailbox, long := fmt.Sprintf("u%d-%d@example.com", length, most), page(length)
			for _, source := range []string{"database", "cache"} {
				got, whole, err := newest(t, c, mailbox, most, func(context.Context) ([]mailstore.Entry, error) {
					if source == "cache" {
						t.Errorf("%d of %d: the database is asked twice", most, length)
					}
					return long, nil
				})
				if err != nil || len(got) != min(most, length, mailcache.PageEntries) || whole != (length <= most && length < mailcache.PageEntries) {
					t.Errorf("%d of %d from the %s: %d entries, all of them: %v (%v)", most, length, source, len(got), whole, err)
				}
				for i := range got {
					if !reflect.DeepEqual(got[i], long[i]) {
						t.Errorf("entry %d is %+v, want %+v", i, got[i], long[i])
					}
				}
			}
		}
	}
}

func deletingNothing(t *testing.T, c *mailcache.Cache) {
	if lost := c.DeletePages(nil) + c.DeletePages([]string{"x@example.com", "y@example.com"}); lost != 0 {
		t.Errorf("%d lost", lost)
	}
}

func manyPages(t *testing.T, c *mailcache.Cache) {
	var mailboxes []string
	for i := range 300 {
		mailboxes = append(mailboxes, fmt.Sprint(i%200, "@example.com"))
		ask(t, c, mailboxes[i], page(1))
	}
	if lost := c.DeletePages(mailboxes[:250]); lost != 0 {
		t.Errorf("%d lost", lost)
	}
	ask(t, c, "200@example.com", page(1))
	for _, mailbox := range mailboxes[:200] {
		if _, asked := ask(t, c, mailbox, page(2)); !asked {
			t.Fatalf("%s was not deleted", mailbox)
		}
	}
	if _, asked := ask(t, c, "200@example.com", nil); asked {
		t.Error("a page was deleted that nobody named")
	}
}
