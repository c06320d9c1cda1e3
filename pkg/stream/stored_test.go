package stream_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/internal/streamtest"
)

func TestAnnouncementsOfStoredMail(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	var got atomic.Int64
	mails := make([]stream.StoredMail, 20_000)
	for i := range mails {
		mails[i] = stream.StoredMail{ID: ulid.Make(), Mailboxes: []string{fmt.Sprintf("user%d@example.com", i), `"a b"@example.com`}}
	}
	sub, err := stream.SubscribeStored(f.NC, func(some []stream.StoredMail) {
		for _, m := range some {
			i := got.Add(1) - 1
			if m.ID != mails[i].ID || len(m.Mailboxes) != 2 || m.Mailboxes[0] != mails[i].Mailboxes[0] || m.Mailboxes[1] != mails[i].Mailboxes[1] {
				t.Errorf("announcement %d is %+v", i, m)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := f.NC.Publish(stream.StoredSubject(3), []byte("not ours")); err != nil {
		t.Fatal(err)
	}
	if err := stream.PublishStored(f.NC, 3, mails); err != nil {
		t.Fatal(err)
	}
	streamtest.Eventually(t, "all announcements", func() bool { return got.Load() == int64(len(mails)) })
}

func TestSharedAnnouncementsAreHeardOnce(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	const n = 200
	var shared, own atomic.Int64
	for range 3 {
		for group, heard := range map[string]*atomic.Int64{"some-service": &shared, "": &own} {
			sub, err := stream.ShareStored(f.NC, group, func(mails []stream.StoredMail) { heard.Add(int64(len(mails))) })
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = sub.Unsubscribe() }()
		}
	}
	for i := range n {
		if err := stream.PublishStored(f.NC, i%2, []stream.StoredMail{{ID: ulid.Make(), Mailboxes: []string{"a@example.com"}}}); err != nil {
			t.Fatal(err)
		}
	}
	streamtest.Eventually(t, "all announcements", func() bool { return own.Load() == 3*n && shared.Load() == n })
}
