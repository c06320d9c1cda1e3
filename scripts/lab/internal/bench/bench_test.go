package bench

import (
	"strings"
	"testing"
)

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   string
	}{
		{nil, "–"}, {[]float64{2}, "2.0"}, {[]float64{3, 1}, "2.0 (1.0–3.0)"}, {[]float64{9, 1, 4}, "4.0 (1.0–9.0)"},
	} {
		if got := Over(c.values).Text(1); got != c.want {
			t.Errorf("%v: %q, want %q", c.values, got, c.want)
		}
	}
	same := func(v float64) float64 { return v }
	if got := Ratio([]float64{2, 9}, same, []float64{1, 3}, same).Text(1); got != "2.5 (2.0–3.0)" {
		t.Errorf("ratio by rounds: %q", got)
	}
}

func TestTableIsAligned(t *testing.T) {
	var table Table
	table.Row("", "µs", "ratio")
	table.Row("nats", "1234", "–")
	var out strings.Builder
	table.Write(&out)
	if want := "          µs  ratio\n  nats  1234      –\n"; out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

func TestListsNameWhatIsWrong(t *testing.T) {
	var ints Ints
	if err := ints.Set("1,4"); err != nil || ints.String() != "1,4" {
		t.Errorf("1,4 is read as %v, %v", ints, err)
	}
	if err := ints.Set("1,x"); err == nil || !strings.Contains(err.Error(), `"x"`) {
		t.Errorf("1,x: %v", err)
	}
	words := Words{Known: []string{"a", "b"}}
	if err := words.Set("b,c"); err == nil || !strings.Contains(err.Error(), `"c" is none of a, b`) {
		t.Errorf("b,c: %v", err)
	}
}
