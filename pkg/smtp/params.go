package smtp

import (
	"strconv"
	"strings"

	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// param is one esmtp-param of RFC 5321 section 4.1.2.
type param struct {
	key      string // upper case
	value    string
	hasValue bool
}

// maxParams bounds a list far above what the extensions in existence can fill.
const maxParams = 32

// parseParams parses the parameters of MAIL and RCPT. ok is false when the list is malformed or has a keyword
// twice.
func parseParams(s string) (list []param, ok bool) {
	for field := range strings.SplitSeq(s, " ") {
		if field == "" {
			continue
		}
		key, value, hasValue := strings.Cut(field, "=")
		p := param{strings.ToUpper(key), value, hasValue}
		if !p.valid() || len(list) == maxParams {
			return nil, false
		}
		for _, other := range list {
			if other.key == p.key {
				return nil, false
			}
		}
		list = append(list, p)
	}
	return list, true
}

func (p param) valid() bool {
	if p.key == "" || p.key[0] == '-' || p.hasValue && p.value == "" || strings.Contains(p.value, "=") {
		return false
	}
	for i := 0; i < len(p.key); i++ {
		if !isAlnum(p.key[i]) && p.key[i] != '-' {
			return false
		}
	}
	return true
}

// mailParams is what the parameters of one MAIL say.
type mailParams struct {
	size int64
	body mailv1.BodyType
	utf8 bool
}

// parseMailParams takes SIZE, BODY and SMTPUTF8; anything else was not offered (RFC 5321 section 4.1.1.11). The
// reply is the refusal; its code is 0 when all is well.
func parseMailParams(s string, esmtp bool) (m mailParams, refused Reply) {
	list, ok := parseParams(s)
	if !ok {
		return m, replyBadParam
	}
	for _, p := range list {
		switch {
		case p.key == "SIZE":
			// RFC 1870 section 5: up to 20 digits.
			n, err := strconv.ParseUint(p.value, 10, 64)
			if len(p.value) > 20 || p.value == "" || !isDigits(p.value) {
				return m, replyBadParam
			}
			if err != nil || n > maxInt64 {
				n = maxInt64
			}
			m.size = int64(n)
		case p.key == "BODY" && strings.EqualFold(p.value, "7BIT"):
			m.body = mailv1.BodyType_BODY_TYPE_7BIT
		case p.key == "BODY" && strings.EqualFold(p.value, "8BITMIME"):
			m.body = mailv1.BodyType_BODY_TYPE_8BITMIME
		case p.key == "SMTPUTF8" && p.hasValue:
			return m, replyBadParam
		case p.key == "SMTPUTF8" && esmtp:
			m.utf8 = true
		default:
			return m, replyUnknownParam
		}
	}
	return m, refused
}

const maxInt64 = 1<<63 - 1

func isDigits(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
