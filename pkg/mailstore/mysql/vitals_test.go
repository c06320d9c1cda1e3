package mysql_test

import (
	"testing"
	"time"

	"github.com/sluice-mail/sluice/pkg/mailstore/mysql"
	"github.com/sluice-mail/sluice/pkg/mailstore/mysql/mysqltest"
)

func TestTheServerTellsItsClockAndWhoItIs(t *testing.T) {
	s := open(t, mysql.Config{DSN: mysqltest.DSN(t)})
	before := time.Now()
	first, err := s.Vitals(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if off := first.Clock.Sub(before); off < -time.Second || off > 10*time.Second {
		t.Errorf("the server of this machine is %v ahead of it", off)
	}
	again, err := s.Vitals(t.Context())
	if err != nil || again.Identity != first.Identity || again.Unsynced != first.Unsynced {
		t.Errorf("%+v, and then %+v (%v)", first, again, err)
	}
	t.Logf("%+v", first)
}
