package mysql_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	store "github.com/sluice-mail/sluice/pkg/mailstore/mysql"
	"github.com/sluice-mail/sluice/pkg/mailstore/mysql/mysqltest"
	"github.com/sluice-mail/sluice/pkg/mailstore/storetest"
)

// A server whose disk is full takes no mail and loses none; it goes on when there is room. MariaDB may say so, or abort.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=400m,mode=1777"); err != nil {
		t.Skipf("skipped: a small disk is made by mount, which needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	t.Setenv("TMPDIR", dir)
	server, dsn := mysqltest.Start(t)
	s := open(t, store.Config{DSN: dsn, Codec: mailstore.CodecNone})
	filler := fill(t, dir, 24<<20)
	var accepted []mailstore.Mail
	refused := mailstore.Mail{}
	for range 200 {
		m := storetest.NewMail(time.Now(), storetest.Text(1<<20), "full@example.com")
		err := putOne(t, s, m)
		if err != nil {
			expectClass(t, err, mailstore.Pause, "")
			t.Logf("%d mails fit before: %v", len(accepted), err)
			refused = m
			break
		}
		accepted = append(accepted, m)
	}
	if refused.Size == 0 {
		t.Fatalf("%d mails of 1 MB fit on a full disk", len(accepted))
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if s.Ping(t.Context()) != nil {
		_ = server.Kill() // it has ended, or is about to
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
	}
	accepted = append(accepted, refused)
	if _, err := s.PutBatch(t.Context(), accepted); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Count(t.Context()); err != nil || n != int64(len(accepted)) {
		t.Errorf("%d mails are stored (%v), want %d", n, err, len(accepted))
	}
}

// fill leaves so many bytes of a disk free.
func fill(t *testing.T, dir string, free int64) string {
	t.Helper()
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), 0, 0, int64(fs.Bavail)*fs.Bsize-free); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}
