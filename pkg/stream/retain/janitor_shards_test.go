package retain_test

import (
	"testing"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/consume"
	"github.com/sluice-mail/sluice/pkg/stream/internal/streamtest"
)

func TestTheJanitorTendsTheShardsAboveAHole(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	f.AddShard(1)
	f.Mails(1, 5)
	_, stop := f.Worker(consume.Config{}, streamtest.NewRecorder(nil))
	streamtest.Eventually(t, "everything is stored", func() bool { return f.Info(1, stream.Storer).AckFloor.Stream == 5 })
	stop()
	if err := f.JS.DeleteStream(t.Context(), stream.StreamName(0)); err != nil {
		t.Fatal(err)
	}
	once(t, f, newJanitor(t, f, 0, nil))
	if st := f.State(stream.StreamName(1)); st.Msgs != 0 {
		t.Errorf("%d messages are left in the shard above the hole although all are stored and nothing is to be kept", st.Msgs)
	}
}
