package stream_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os/exec"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/internal/streamtest"
)

// The example of proto/README.md: the log consumed from Python with its standard library alone.
func TestPythonConsumesTheLog(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("skipped: needs python3 on the PATH")
	}
	f := streamtest.New(t, 64<<20)
	bodies := [][]byte{[]byte("Subject: one\r\n\r\nhello\r\n"), {}, streamtest.Bytes(300_000, 1)}
	for _, raw := range bodies {
		f.Mail(0, string(raw), "u@example.com", "v@example.net")
	}
	var packed [][]byte
	var envelopes [][]byte
	var sum stream.Digest
	for i := range 3 {
		packed = append(packed, streamtest.Bytes(1000*i, byte(i)))
		env := streamtest.Envelope(packed[i], "u@example.com", "v@example.net")
		sum.Add(stream.DigestOf(env))
		e, err := proto.Marshal(env)
		if err != nil {
			t.Fatal(err)
		}
		envelopes = append(envelopes, e)
	}
	f.Send(stream.EncodePack(stream.HeadSubject(0), "a pack", envelopes, sum, bytes.Join(packed, nil)))
	bodies = append(bodies, packed...)
	large := streamtest.Bytes(5*streamtest.PartBytes+3, 2)
	f.Large(0, large)
	out, err := exec.CommandContext(f.Context(), python, "../../proto/example/consume.py", f.Server.URL(), "py", "0", "5").Output()
	if err != nil {
		t.Fatalf("consume.py: %v", err)
	}
	bodies = append(bodies, large)
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 4<<20)
	n := 0
	for ; lines.Scan(); n++ {
		var got struct {
			ID, From, Raw string
			To            []string
			Size, Parts   int
		}
		if err := json.Unmarshal(lines.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		raw, err := base64.StdEncoding.DecodeString(got.Raw)
		if err != nil {
			t.Fatal(err)
		}
		streamtest.Equal(t, "the mail", raw, bodies[n])
		id, err := hex.DecodeString(got.ID)
		if err != nil || len(id) != 16 || got.Size != len(raw) || got.From != "a@b.example" || got.To[0] != "u@example.com" || (got.Parts == 0) != (n < 6) {
			t.Errorf("mail %d is %+v", n, got)
		}
	}
	if n != len(bodies) {
		t.Fatalf("%d mails came out: %s", n, out)
	}
	streamtest.Eventually(t, "the acknowledgements", func() bool { return f.SettledBy("py") })
}
