// Package storetest has the tests that every mailstore.Store must pass.
package storetest

import (
	"testing"
	"time"

	"github.com/sluice-mail/sluice/pkg/mailstore"
)

// Options is what a test asks of the store it gets.
type Options struct {
	Codec     mailstore.Codec // compression of bodies
	Retention time.Duration   // as in the configuration of a store; 0 keeps all
	// Exec is set by Open, when it is not nil, to what runs a statement in the database.
	Exec *func(statement string)
}

// Open returns an empty, migrated store of its own for a test, and closes it afterwards.
type Open func(t *testing.T, o Options) mailstore.Store

// Run runs the suite.
func Run(t *testing.T, open Open) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Open)
	}{
		{"StoringAgainChangesNothing", storingAgainChangesNothing},
		{"ReplayInsertsOnce", replayInsertsOnce},
		{"AllRecipientsStored", allRecipientsStored},
		{"BytesInAreBytesStored", bytesInAreBytesStored},
		{"NothingIsRefused", nothingIsRefused},
		{"PutOneLeavesDerivedEmpty", putOneLeavesDerivedEmpty},
		{"ProbeLeavesNothing", probeLeavesNothing},
		{"WrongBytesAreRefused", wrongBytesAreRefused},
		{"BatchIsAllOrNothing", batchIsAllOrNothing},
		{"FailingSourceIsTriedAgainLater", failingSource},
		{"CancelledStoresNothing", cancelled},
		{"LargeMailInParts", largeMailInParts},
		{"LargeMailNeedsLittleMemory", largeMailNeedsLittleMemory},
		{"ConcurrentWritersStoreOnce", concurrentWriters},
		{"InboxPagesNewestFirst", inboxPages},
		{"MailboxesAreApart", mailboxesAreApart},
		{"UnknownMail", unknownMail},
		{"IDsInOrder", idsInOrder},
		{"SumsAndLines", sumsAndLines},
		{"DamagedBytesAreNamed", damagedBytes},
		{"ReindexRewritesDerivedOnly", reindex},
		{"Lists", lists},
		{"FindsInOneMailbox", find},
		{"DeletedStaysDeleted", deleting},
		{"DeletingAMailbox", deletingAll},
		{"DeletingAtOnceCountsExactly", deletingAtOnce},
		{"MailOfNobody", nobodysMail},
		{"StoredAgainForOtherMailboxes", otherMailboxes},
		{"LostLinesArePutBack", lostLines},
		{"DropBefore", dropBefore},
		{"OlderThanRetentionExpires", retention},
		{"MigrateAgain", migrateAgain},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open) })
	}
}
