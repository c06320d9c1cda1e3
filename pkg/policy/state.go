package policy

import (
	"github.com/sluice-mail/sluice/pkg/policy/frozen"
	"github.com/sluice-mail/sluice/pkg/policy/lists"
)

// recipientSet is an immutable set of mailboxes.
type recipientSet = frozen.Map[string, struct{}]

// bucketState is what the keys seen so far amount to.
type bucketState struct {
	domains    map[string]struct{}
	recipients *frozen.Builder[string, struct{}]
	lists      *lists.Builder
	emptied    map[string]bool // lists that somebody has emptied on purpose, by kind
}

func newBucketState() bucketState {
	return bucketState{domains: make(map[string]struct{}), recipients: frozen.New[string, struct{}](), lists: lists.NewBuilder(), emptied: make(map[string]bool)}
}

// set records that a key is there or not. Keys that are not as AddDomain, AddRecipient or SetEntry write them are ignored.
func (b bucketState) set(k string, value []byte, present bool) {
	kind, text, ok := parseKey(k)
	switch {
	case !ok:
	case kind == recipientKeys && present:
		b.recipients.Set(text, struct{}{})
	case kind == recipientKeys:
		b.recipients.Delete(text)
	case kind == emptyKeys:
		b.emptied[text] = present
	case kind == domainKeys && present:
		b.domains[text] = struct{}{}
	case kind == domainKeys:
		delete(b.domains, text)
	case kind == denyKeys, kind == allowKeys:
		b.setEntry(k, text, value, present)
	}
}

// setEntry changes the lists. An entry that can no longer be read is none.
func (b bucketState) setEntry(k, text string, value []byte, present bool) {
	n, e, ok := parseEntry(k, value)
	if ok && present {
		b.lists.Set(n, e)
	} else if entryText(n) == text {
		b.lists.Remove(n)
	}
}

func (b bucketState) freeze() *liveSet {
	set := &liveSet{domains: newDomains(nil), recipients: b.recipients.Freeze(), lists: b.lists.Freeze(), noRecipients: b.emptied[recipientKeys]}
	for pattern := range b.domains {
		set.domains.add(pattern)
	}
	return set
}
