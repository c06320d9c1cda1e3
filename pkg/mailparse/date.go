package mailparse

import (
	"bytes"
	"strings"
	"time"
)

// parseDate reads a Date field (RFC 5322 section 3.3 and its obsolete forms in 4.3) and the other forms
// seen in mail: asctime, two-digit years, dashes, ISO 8601, missing zones. The order of the pieces does
// not matter, because each is recognised by its looks.
func parseDate(value []byte) (time.Time, bool) {
	const longest = 128
	var d datePieces
	rest := value[:min(len(value), longest)]
	for {
		rest = skipSpace(bytes.TrimLeft(rest, " \t\r\n,;"))
		end := bytes.IndexAny(rest, " \t\r\n,;(")
		if end < 0 {
			end = len(rest)
		}
		if end == 0 {
			break
		}
		d.take(string(rest[:end]))
		rest = rest[end:]
	}
	return d.time()
}

type datePieces struct {
	day, year, hour, minute, second, offset int
	month                                   time.Month
	hasZone, bad                            bool
}

func (d *datePieces) take(word string) {
	if len(word) >= len("2006-01-02T15:04:05Z") && d.iso8601(word) {
		return
	}
	switch first := word[0]; {
	case first == '+' || first == '-':
		d.zone(word)
	case strings.IndexByte(word, ':') >= 0:
		d.clock(word)
	case strings.IndexByte(word, '-') > 0: // 2-Jan-2006 or 2006-01-02
		d.dashed(strings.Split(word, "-"))
	case first >= '0' && first <= '9':
		d.number(word)
	default:
		d.word(word)
	}
}

func (d *datePieces) iso8601(word string) bool {
	t, err := time.Parse(time.RFC3339, word)
	if err != nil {
		return false
	}
	_, d.offset = t.Zone()
	d.year, d.month, d.day = t.Date()
	d.hour, d.minute, d.second = t.Clock()
	d.hasZone = true
	return true
}

func (d *datePieces) dashed(pieces []string) {
	if len(pieces) != 3 {
		d.bad = true
		return
	}
	if len(pieces[0]) == 4 {
		pieces[0], pieces[2] = pieces[2], pieces[0]
	}
	d.number(pieces[0])
	if n, ok := digits(pieces[1]); ok && n >= 1 && n <= 12 {
		d.month = time.Month(n)
	} else {
		d.word(pieces[1])
	}
	d.number(pieces[2])
}

func (d *datePieces) clock(word string) {
	pieces := strings.Split(word, ":")
	last := len(pieces) - 1
	pieces[last], _, _ = strings.Cut(pieces[last], ".") // fractions of a second
	pieces = append(pieces, "0")
	hour, ok1 := digits(pieces[0])
	minute, ok2 := digits(pieces[1])
	second, ok3 := digits(pieces[2])
	if last > 2 || !ok1 || !ok2 || !ok3 || hour > 24 || minute > 59 || second > 60 { // 60: leap second
		d.bad = true
		return
	}
	d.hour, d.minute, d.second = hour, minute, second
}

func (d *datePieces) zone(word string) {
	n, ok := digits(strings.Replace(word[1:], ":", "", 1))
	if !ok || len(word) < 5 || n > 9959 {
		return // like "-0000" of an unknown kind: take the time as it stands
	}
	d.offset = (n/100*60 + n%100) * 60
	if word[0] == '-' {
		d.offset = -d.offset
	}
	d.hasZone = true
}

func (d *datePieces) number(word string) {
	n, ok := digits(word)
	switch {
	case !ok:
		d.bad = true
	case d.day == 0 && len(word) <= 2:
		d.day = n
	case d.year == 0 && len(word) == 2 && n < 50: // RFC 5322 section 4.3
		d.year = 2000 + n
	case d.year == 0 && len(word) <= 3:
		d.year = 1900 + n
	case d.year == 0 && len(word) == 4:
		d.year = n
	}
}

// word reads month names, zone names and AM/PM; names of days and anything else say nothing.
func (d *datePieces) word(word string) {
	const months = "janfebmaraprmayjunjulaugsepoctnovdec"
	w := strings.ToLower(word)
	switch w {
	case "pm":
		if d.hour < 12 {
			d.hour += 12
		}
		return
	case "am":
		if d.hour == 12 {
			d.hour = 0
		}
		return
	}
	if d.month == 0 && len(w) >= 3 {
		if i := strings.Index(months, w[:3]); i >= 0 && i%3 == 0 {
			d.month = time.Month(i/3 + 1)
			return
		}
	}
	// RFC 5322 section 4.3: the North American zones are the only ones with a fixed meaning.
	const zones = "est-5 edt-4 cst-6 cdt-5 mst-7 mdt-6 pst-8 pdt-7 "
	if i := strings.Index(zones, w+"-"); i >= 0 && len(w) == 3 && !d.hasZone {
		d.offset, d.hasZone = -int(zones[i+4]-'0')*3600, true
	}
}

func (d *datePieces) time() (time.Time, bool) {
	if d.bad || d.day == 0 || d.month == 0 || d.year < 1900 {
		return time.Time{}, false
	}
	if date := time.Date(d.year, d.month, d.day, 0, 0, 0, 0, time.UTC); date.Day() != d.day {
		return time.Time{}, false // 31 February
	}
	t := time.Date(d.year, d.month, d.day, d.hour, d.minute, d.second-d.offset, 0, time.UTC)
	return t, t.Year() <= 9999
}

func digits(s string) (int, bool) {
	if s == "" || len(s) > 4 {
		return 0, false
	}
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, true
}
